//! The Rust crate's Simulator, driven as bench/simulator_cycles.py drives ours: one runtime, one invocation at a time.
//!
//! Says where its Runtime API is ("ready HOST:PORT"), then reads numbers, one a line: that many times it enqueues an event and
//! waits until it is answered, and prints the seconds that took. The end of its input is its end. With the argument `one-thread`
//! it runs on tokio's runtime of one thread, else on its usual one.
//!
//! With several threads the crate's `wait_for_invocation_complete` misses an answer now and then that comes between its look at
//! the state and its wait (about one in some thousands). Asking again after PATIENCE keeps that from stopping the measurement.

use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

use lambda_simulator::{Simulator, SimulatorError};
use serde_json::json;
use tokio::runtime::Builder;

const PATIENCE: Duration = Duration::from_millis(5);
const ATTEMPTS: usize = 2000;

fn main() {
    let one_thread = std::env::args().nth(1).as_deref() == Some("one-thread");
    let mut builder = if one_thread { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.enable_all().build().expect("tokio starts").block_on(serve());
}

async fn serve() {
    let simulator = Simulator::builder().build().await.expect("the simulator starts");
    say(&format!("ready {}", simulator.runtime_api_url().trim_start_matches("http://")));
    let mut missed = 0;
    // Nothing else happens while a line is awaited: the runtime waits for its next event.
    for line in io::stdin().lock().lines() {
        let cycles: usize = line.expect("a line of text").trim().parse().expect("a number of cycles");
        let begun = Instant::now();
        for _ in 0..cycles {
            let id = simulator.enqueue_payload(json!({"key": "value"})).await;
            for attempt in 0.. {
                match simulator.wait_for_invocation_complete(&id, PATIENCE).await {
                    Ok(_) => break,
                    Err(SimulatorError::Timeout(_)) if attempt < ATTEMPTS => missed += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        say(&begun.elapsed().as_secs_f64().to_string());
    }
    eprintln!("asked again {missed} times");
    simulator.shutdown().await;
}

fn say(line: &str) {
    println!("{line}");
    io::stdout().flush().expect("somebody reads");
}

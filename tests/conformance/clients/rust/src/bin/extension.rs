//! An extension on the crate `lambda-extension`. What it gets it appends to the file that RECORDS names, a JSON object a line.

use lambda_extension::{
    service_fn, Error, Extension, LambdaEvent, LambdaLog, LambdaTelemetry, LogBuffering, NextEvent, SharedService,
};
use serde_json::{json, Value};
use std::io::Write;

fn note(line: Value) {
    let path = std::env::var("RECORDS").expect("RECORDS");
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
    println!("noted {}", line["kind"].as_str().unwrap());
}

async fn on_event(event: LambdaEvent) -> Result<(), Error> {
    match event.next {
        NextEvent::Invoke(invoke) => {
            note(json!({
                "kind": "INVOKE", "id": invoke.request_id, "deadline": invoke.deadline_ms,
                "arn": invoke.invoked_function_arn, "trace": invoke.tracing.value,
            }));
            if std::env::var("FAILS").as_deref() == Ok("INVOKE") {
                return Err("as asked".into());
            }
        }
        NextEvent::Shutdown(shutdown) => {
            note(json!({"kind": "SHUTDOWN", "reason": shutdown.shutdown_reason, "deadline": shutdown.deadline_ms}));
            if std::env::var("FAILS").as_deref() == Ok("SHUTDOWN") {
                return Err("as asked".into());
            }
            std::process::exit(0);
        }
    }
    Ok(())
}

async fn on_telemetry(records: Vec<LambdaTelemetry<Value>>) -> Result<(), Error> {
    for record in records {
        note(json!({"kind": "telemetry", "event": record}));
    }
    Ok(())
}

async fn on_logs(records: Vec<LambdaLog>) -> Result<(), Error> {
    for record in records {
        note(json!({"kind": "log", "event": format!("{:?}", record.record)}));
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let port = std::env::var("LISTEN")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(9002);
    let buffering = LogBuffering {
        timeout_ms: 25,
        max_bytes: 262_144,
        max_items: 1000,
    };
    let events = service_fn(on_event);
    match std::env::var("SUBSCRIBES").as_deref() {
        Ok("telemetry") => {
            Extension::new()
                .with_events_processor(events)
                .with_telemetry_record_type::<Value>()
                .with_telemetry_types(&["platform", "function"])
                .with_telemetry_buffering(buffering)
                .with_telemetry_port_number(port)
                .with_telemetry_processor(SharedService::new(service_fn(on_telemetry)))
                .run()
                .await
        }
        Ok("logs") => {
            Extension::new()
                .with_events_processor(events)
                .with_log_types(&["platform", "function"])
                .with_log_buffering(buffering)
                .with_log_port_number(port)
                .with_logs_processor(SharedService::new(service_fn(on_logs)))
                .run()
                .await
        }
        _ => {
            let registered = Extension::new().with_events_processor(events).register().await?;
            note(json!({
                "kind": "registered", "function": registered.function_name, "version": registered.function_version,
                "handler": registered.handler, "account": registered.account_id,
            }));
            registered.run().await
        }
    }
}

//! A function on the crate `lambda_runtime`; `_HANDLER` says how it is run, the event's `do` what it does.

use lambda_runtime::streaming::Response;
use lambda_runtime::{service_fn, BoxFuture, Diagnostic, Error, LambdaEvent, Runtime, SnapStartResource};
use serde_json::{json, Value};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

async fn until(path: &str) {
    while !Path::new(path).exists() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn echo(event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let (payload, context) = event.into_parts();
    println!("line of {}", context.request_id);
    match payload["do"].as_str() {
        Some("error") => Err(Diagnostic {
            error_type: "Shop.NotFound".into(),
            error_message: "no such shop".into(),
        }),
        Some("boxed") => Err(Diagnostic::from(Error::from("boxed, as asked"))),
        Some("panic") => panic!("as asked"),
        Some("exit") => std::process::exit(3),
        Some("sleep") => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(Value::Null)
        }
        Some("wait") => {
            std::fs::write(payload["here"].as_str().unwrap(), "").unwrap();
            until(payload["until"].as_str().unwrap()).await;
            Ok(json!({"pid": std::process::id(), "id": context.request_id}))
        }
        _ => {
            let client = context.client_context.as_ref();
            Ok(json!({
                "event": payload,
                "id": context.request_id,
                "deadline": context.deadline,
                "arn": context.invoked_function_arn,
                "trace": context.xray_trace_id,
                "tenant": context.tenant_id,
                "custom": client.map(|found| found.custom.clone()),
                "identity": context.identity.map(|found| found.identity_id),
                "name": context.env_config.function_name,
                "memory": context.env_config.memory,
                "stream": context.env_config.log_stream,
            }))
        }
    }
}

async fn stream(
    event: LambdaEvent<Value>,
) -> Result<Response<impl tokio_stream::Stream<Item = Result<Vec<u8>, Error>> + Unpin + Send>, Error> {
    let payload = event.payload;
    if payload["do"] == "early" {
        return Err("before the first byte".into());
    }
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let _ = sender.send(Ok(b"first;".to_vec())).await;
        if let Some(path) = payload["until"].as_str() {
            until(path).await;
        }
        if payload["do"] == "fail" {
            let _ = sender.send(Err(Error::from("in the middle"))).await;
            return;
        }
        let _ = sender.send(Ok(b"last".to_vec())).await;
    });
    Ok(Response::from(Received(receiver)))
}

struct Received(tokio::sync::mpsc::Receiver<Result<Vec<u8>, Error>>);

impl tokio_stream::Stream for Received {
    type Item = Result<Vec<u8>, Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

struct Connection;

impl SnapStartResource for Connection {
    fn before_snapshot(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            println!("before the snapshot");
            Ok(())
        })
    }

    fn after_restore(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            println!("after the restore");
            if std::env::var("RESTORE_FAILS").is_ok() {
                return Err("cannot be restored".into());
            }
            Ok(())
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    match std::env::var("_HANDLER").as_deref() {
        Ok("stream") => lambda_runtime::run(service_fn(stream)).await,
        Ok("concurrent") => lambda_runtime::run_concurrent(service_fn(echo)).await,
        Ok("snapstart") => {
            Runtime::new(service_fn(echo))
                .register_snapstart_resource(Arc::new(Connection))
                .run()
                .await
        }
        Ok("graceful") => {
            lambda_runtime::spawn_graceful_shutdown_handler(|| async { println!("flushed") }).await;
            lambda_runtime::run(service_fn(echo)).await
        }
        _ => lambda_runtime::run(service_fn(echo)).await,
    }
}

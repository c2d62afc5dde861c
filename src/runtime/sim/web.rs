//! What listens at a port of a simulated pod.
//!
//! Of HTTP as much as a proxy can be tried with: the answer to a request is its own head as text, so that whoever asks sees what has
//! reached the pod; `/moved` is a redirect, `/gone` 410, and an upgrade becomes an echo.

use crate::limits::SIM_HEAD_BYTES_MAX;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Sends back what it gets.
pub(super) async fn echo(stream: DuplexStream) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    tokio::io::copy(&mut reader, &mut writer).await?;
    writer.shutdown().await
}

/// Answers one request. A body is not read.
pub(super) async fn answer(mut stream: DuplexStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < SIM_HEAD_BYTES_MAX {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let upgrade = head.lines().find(|line| line.to_ascii_lowercase().starts_with("upgrade:"));
    if let Some(upgrade) = upgrade {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n{upgrade}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
        return echo(stream).await;
    }
    let (status, more) = match path {
        "/moved" => ("302 Found", "location: https://127.0.0.1:1/secrets\r\n"),
        "/gone" => ("410 Gone", ""),
        _ => ("200 OK", "x-simulated: yes\r\nkeep-alive: timeout=5\r\nx-private: hop\r\n"),
    };
    let length = head.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close, x-private\r\n{more}\r\n{head}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

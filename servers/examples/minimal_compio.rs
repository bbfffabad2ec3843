//! A minimal echo server on compio. Compared with the model `compio`, it shows that the contract of
//! a model costs next to nothing.

use std::{env, io, process};

use compio::buf::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{self, Runtime};

fn main() -> io::Result<()> {
    let Some(port) = env::args_os().nth(1).and_then(|port| port.into_string().ok()) else {
        eprintln!("usage: minimal_compio PORT");
        process::exit(2);
    };
    Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            runtime::spawn(echo(stream)).detach();
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        let BufResult(length, input) = stream.read(buffer).await;
        if length? == 0 {
            return Ok(());
        }
        let BufResult(written, output) = stream.write_all(input).await;
        written?;
        buffer = output;
        buffer.clear();
    }
}

//! A minimal echo server on tokio. Compared with the models `tokio` and `tokio-local`, it
//! shows that the contract of a model costs next to nothing.

use std::{env, io, process};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

fn main() -> io::Result<()> {
    let Some(port) = env::args_os().nth(1).and_then(|port| port.into_string().ok()) else {
        eprintln!("usage: minimal_tokio PORT");
        process::exit(2);
    };
    Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length]).await?;
    }
}

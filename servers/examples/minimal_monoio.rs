//! A minimal echo server on monoio. Compared with the model `monoio`, it shows that the contract of
//! a model costs next to nothing.

use std::{env, io, process};

use monoio::IoUringDriver;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let Some(port) = env::args_os().nth(1).and_then(|port| port.into_string().ok()) else {
        eprintln!("usage: minimal_monoio PORT");
        process::exit(2);
    };
    monoio::start::<IoUringDriver, _>(async {
        let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            monoio::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(8 * 1024);
    loop {
        let (length, input) = stream.read(buffer).await;
        if length? == 0 {
            return Ok(());
        }
        let (written, output) = stream.write_all(input).await;
        written?;
        buffer = output;
        buffer.clear();
    }
}

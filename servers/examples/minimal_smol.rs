//! A minimal echo server on smol. Compared with the model `smol`, it shows that the contract of
//! a model costs next to nothing.

use std::{env, io, process};

use smol::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let Some(port) = env::args_os().nth(1).and_then(|port| port.into_string().ok()) else {
        eprintln!("usage: minimal_smol PORT");
        process::exit(2);
    };
    smol::block_on(async {
        let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            smol::spawn(echo(stream)).detach();
        }
    })
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    smol::io::copy(stream.clone(), stream).await?;
    Ok(())
}

// Put a value and read it back, in Rust, without a crate: rustc client.rs && ./client [HOST:PORT]
use std::io::{Read, Result, Write};
use std::net::TcpStream;

const PUT: u16 = 650;
const GET: u16 = 651;
const SUCCESS: u16 = 652;

/// A message opens with its size, itself included, and its type.
fn message(kind: u16, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let size = 4 + body.len() as u16;
    [&size.to_be_bytes()[..], &kind.to_be_bytes()[..], &body[..]].concat()
}

fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7401".into());
    let mut api = TcpStream::connect(address)?;
    let key = *b"any 32 bytes, or a name's SHA256"; // the crate sha2 makes the latter
    let life = [&600u16.to_be_bytes()[..], &[0, 0]].concat(); // seconds; as many copies as usual; reserved
    api.write_all(&message(PUT, &[&life, &key, b"good morning"]))?;
    api.write_all(&message(GET, &[&key]))?;
    let mut head = [0; 4];
    api.read_exact(&mut head)?;
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[0], head[1]])) - 4];
    api.read_exact(&mut body)?; // the key, and the value if there is one
    if u16::from_be_bytes([head[2], head[3]]) == SUCCESS {
        println!("{}", String::from_utf8_lossy(&body[32..]));
    } else {
        println!("nothing");
    }
    Ok(())
}

//! Registries that do not answer: half of them are addresses where nobody is, half take connections and say
//! nothing. Each has an address of its own.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use tokio::net::TcpListener;

/// What `e2e/scale/run` leads nowhere: packets to it are lost.
const NOBODY: [u8; 2] = [10, 255];
/// Addresses of this machine, on which one listener takes connections.
const SILENT: [u8; 2] = [127, 99];

/// The registries; those that take connections do so as long as this lives.
pub(crate) struct Unreachable {
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Unreachable {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await;
        let listener = listener.context("cannot listen for silent registries")?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                silent.push(stream);
            }
        });
        Ok(Self { port, task })
    }

    /// `ADDRESS:PORT` of the registry with a number.
    pub(crate) fn host(&self, number: usize) -> String {
        let [first, second] = if number.is_multiple_of(2) {
            NOBODY
        } else {
            SILENT
        };
        let [.., third, fourth] = number.to_be_bytes();
        // Neither the network's own address nor its broadcast address.
        let address = Ipv4Addr::new(first, second, third.wrapping_add(1), fourth);
        SocketAddr::from((address, self.port)).to_string()
    }
}

impl Drop for Unreachable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

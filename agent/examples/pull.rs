//! Pulls an image into a store of its own and prints how long it took: `pull NAME`. For measurements beside other tools.

use berth_agent::registry::{Registry, RegistryConfig, Request};
use berth_runtime::image::{Store, manifest::Platform};
use std::time::Instant;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).ok_or("usage: pull NAME")?;
    let dir = tempfile::tempdir_in("/var/tmp")?;
    let store = Store::open(&dir.path().join("images"))?;
    let request = Request { reference: name.parse()?, platform: Platform::node(), credentials: None };
    let begin = Instant::now();
    let image = Registry::new(RegistryConfig::default()).pull(&request, &store, |_| ()).await?;
    println!("{} ms, {} layers, {} bytes", begin.elapsed().as_millis(), image.layers.len(), image.size());
    Ok(())
}

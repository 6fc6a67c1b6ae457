//! A registry of other people's making, with images of other people's making.

use crate::{Running, TestHost, fixture};
use std::process::Stdio;
use std::time::Duration;

/// Debian's docker-registry on a host's loopback device, with the images of the `registry` fixture.
#[derive(Debug)]
pub struct Registry {
    /// `127.0.0.1:PORT` inside the host.
    pub address: String,
    running: Running,
}

impl Registry {
    /// The reference of an image in it: `registry.image("busybox")`.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// The registry's process.
    pub fn process(&mut self) -> &mut Running {
        &mut self.running
    }
}

impl TestHost {
    /// Starts a registry on 127.0.0.1 inside the host, read-only. What it adds counts as having always been there.
    pub fn registry(&mut self) -> Registry {
        let port = 5000;
        let address = format!("127.0.0.1:{port}");
        let config = self.dir().join("registry.json");
        // JSON is YAML. The packaged configuration listens everywhere and wants a password file.
        let text = serde_json::json!({
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": true}},
            "storage": {
                "filesystem": {"rootdirectory": fixture("registry")},
                "maintenance": {"readonly": {"enabled": true}},
            },
            "http": {"addr": address},
        });
        std::fs::write(&config, text.to_string()).unwrap_or_else(|e| panic!("write {}: {e}", config.display()));
        let log = std::fs::File::create(self.dir().join("registry.log")).expect("the host's directory is writable");
        let mut command = self.command("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let running = self.spawn(&mut command);
        let listening = format!(":{port:04X} ");
        crate::eventually("docker-registry to listen", Duration::from_secs(20), || {
            crate::helper::read(format!("/proc/{}/net/tcp", self.pid())).contains(&listening).then_some(())
        });
        self.rebase();
        Registry { address, running }
    }
}

//! Images by the node's image store and the registries it pulls from, and bundles made of them.

use super::seams::{BundleFacts, BundleRequest, ImageFailure, Images, Later};
use crate::config::PullBehavior;
use crate::registry::{PullError, PullEvent, Registry, Request};
use berth_runtime::bundle::{self, ContainerSettings, Namespace, Ulimit, Volume, VolumeSource};
use berth_runtime::errno::chain;
use berth_runtime::image::manifest::Platform;
use berth_runtime::image::{ImageRecord, Reference, Store};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The node's images.
#[derive(Debug, Clone)]
pub struct NodeImages {
    store: Arc<Store>,
    registry: Registry,
    behavior: PullBehavior,
    /// What was obtained last by each name, so that the bundle is made of the image that was reported.
    obtained: Arc<Mutex<HashMap<String, Arc<ImageRecord>>>>,
}

impl NodeImages {
    /// Images of `store`, pulled by `registry` as `behavior` says.
    pub fn new(store: Arc<Store>, registry: Registry, behavior: PullBehavior) -> Self {
        Self { store, registry, behavior, obtained: Arc::default() }
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Pulls an image, whatever is here already.
    pub async fn pull(
        &self,
        reference: &Reference,
        progress: impl Fn(PullEvent) + Send + Sync + 'static,
    ) -> Result<ImageRecord, PullError> {
        let request = Request { reference: reference.clone(), platform: Platform::node(), credentials: None };
        let record = self.registry.pull(&request, &self.store, progress).await?;
        self.remember(&record);
        Ok(record)
    }

    fn remember(&self, record: &ImageRecord) {
        let mut obtained = self.obtained.lock().unwrap_or_else(PoisonError::into_inner);
        obtained.insert(record.reference.clone(), Arc::new(record.clone()));
    }

    /// The image of that name as it was obtained last, if the store has it still.
    fn here(&self, name: &str) -> Option<Arc<ImageRecord>> {
        let known = self.obtained.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.or_else(|| {
            let record = self.store.resolve(name)?;
            self.remember(&record);
            Some(Arc::new(record))
        })
    }

    /// Gives back the snapshots of tasks that are not known: an agent was killed before it had written down whose they
    /// are. Blocks.
    pub fn release_unknown(&self, is_known: impl Fn(&str) -> bool) {
        for key in self.store.leases() {
            let task = key.split('.').next().unwrap_or_default();
            if is_known(task) {
                continue;
            }
            tracing::info!(key, "snapshot of no known task removed");
            if let Err(e) = self.store.release(&key) {
                tracing::warn!(key, err = chain(&e), "snapshot of no known task not removed");
            }
        }
    }

    /// Forgets what was obtained by a name that is removed.
    pub fn forget(&self, name: &str) {
        self.obtained.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    async fn obtain_now(self, text: String) -> Result<String, ImageFailure> {
        let reference = parse(&text)?;
        let name = reference.to_string();
        let here = self.here(&name);
        if let (Some(record), PullBehavior::Once | PullBehavior::PreferCached) = (&here, self.behavior) {
            return Ok(record.digest.to_string());
        }
        match (self.pull(&reference, |_| {}).await, here) {
            (Ok(record), _) => Ok(record.digest.to_string()),
            (Err(e), Some(record)) if self.behavior == PullBehavior::Default => {
                tracing::warn!(image = name, err = chain(&e), "image not pulled: the one that is here is used");
                Ok(record.digest.to_string())
            }
            (Err(e), _) => Err(ImageFailure { text: e.text(), hint: e.hint() }),
        }
    }
}

fn parse(text: &str) -> Result<Reference, ImageFailure> {
    text.parse::<Reference>().map_err(|e| ImageFailure::new(format!("CannotPullContainerError: {}", chain(&e))))
}

impl Images for NodeImages {
    fn obtain(&self, reference: &str) -> Later<Result<String, ImageFailure>> {
        Box::pin(self.clone().obtain_now(reference.to_owned()))
    }

    fn bundle(&self, request: &BundleRequest) -> Result<BundleFacts, ImageFailure> {
        let fail = |e: &dyn std::error::Error| {
            ImageFailure::new(format!(
                "CannotCreateContainerError: container `{}`: {}",
                request.container.name,
                chain(e)
            ))
        };
        let name = parse(&request.container.image)?.to_string();
        let gone = || ImageFailure::new(format!("CannotCreateContainerError: image `{name}` has been removed"));
        let mut image = self.here(&name).ok_or_else(gone)?;
        let snapshot = match self.store.snapshot(&request.key, &image) {
            Ok(snapshot) => snapshot,
            Err(first) => {
                // Removed or replaced since it was last used by this name: what the store has now counts.
                self.forget(&name);
                image = self.here(&name).ok_or_else(|| fail(&first))?;
                self.store.snapshot(&request.key, &image).map_err(|e| fail(&e))?
            }
        };
        let made = bundle::write(&request.dir, &snapshot, &image.config, &settings(request)).map_err(|e| fail(&e))?;
        Ok(BundleFacts { stop_signal: made.stop_signal })
    }

    fn release(&self, key: &str) -> io::Result<()> {
        self.store.release(key).map_err(|e| io::Error::other(chain(&e)))
    }
}

fn settings(request: &BundleRequest) -> ContainerSettings {
    let c = &request.container;
    let variables = c.environment.iter().map(|(name, value)| (name.clone(), value.clone()));
    let own = request.environment.iter().filter(|(name, _)| !c.environment.contains_key(name)).cloned();
    let binds = request.mounts.iter().map(|m| Volume {
        source: VolumeSource::Bind(m.source.clone()),
        destination: m.target.clone(),
        read_only: m.read_only,
    });
    let tmpfs = c.tmpfs.iter().map(|(path, options)| Volume {
        source: VolumeSource::Tmpfs { size_bytes: None, options: words(options) },
        destination: path.clone(),
        read_only: false,
    });
    let limit = |n: u64| i64::try_from(n).unwrap_or(-1);
    ContainerSettings {
        hostname: request.hostname.clone().or_else(host_name),
        env: own.chain(variables).collect(),
        command: (!c.command.is_empty()).then(|| c.command.clone()),
        entry_point: c.entry_point.clone(),
        user: c.user.clone(),
        cwd: c.working_directory.clone(),
        mounts: binds.chain(tmpfs).collect(),
        hosts: Some(request.hosts.clone()),
        resolv_conf: Some(request.resolv_conf.clone()),
        hostname_file: Some(request.hostname_file.clone()),
        limits: request.limits.clone(),
        cgroups_path: None,
        readonly_rootfs: c.readonly_rootfs,
        privileged: c.privileged,
        cap_add: c.cap_add.clone(),
        cap_drop: c.cap_drop.clone(),
        ulimits: c
            .ulimits
            .iter()
            .map(|u| Ulimit { name: u.name.clone(), soft: limit(u.soft), hard: limit(u.hard) })
            .collect(),
        sysctls: c.sysctls.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        shm_bytes: c.shm_bytes,
        users: request.users.clone(),
        network: if request.host_network { Namespace::Host } else { Namespace::Own },
        ..ContainerSettings::default()
    }
}

fn words(options: &str) -> Vec<String> {
    options.split(',').map(str::trim).filter(|o| !o.is_empty()).map(str::to_owned).collect()
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|n| !n.is_empty())
}

/// Where the images of a node lie, opened.
pub fn open_store(dir: PathBuf) -> Result<Arc<Store>, berth_runtime::image::StoreError> {
    Store::open(&dir).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::BindMount;
    use crate::task::fixtures;
    use berth_runtime::cgroup::limits::Limits;

    fn request() -> BundleRequest {
        BundleRequest {
            dir: "/r/bundle".into(),
            key: "t.app".into(),
            container: fixtures::container("app"),
            environment: vec![("HOST_PORT_80".into(), "61000".into()), ("AWS_REGION".into(), "local".into())],
            hostname: Some("h".into()),
            mounts: vec![BindMount { source: "/data".into(), target: "/mnt".into(), read_only: true }],
            hosts: "/r/hosts".into(),
            resolv_conf: "/r/resolv.conf".into(),
            hostname_file: "/r/hostname".into(),
            limits: Limits::default(),
            host_network: false,
            users: berth_runtime::spec::IdMaps::default(),
        }
    }

    #[test]
    fn the_definitions_environment_wins_over_the_nodes() {
        let mut request = request();
        request.container.environment.insert("AWS_REGION".into(), "mine".into());
        let env = settings(&request).env;
        assert_eq!(env, [("HOST_PORT_80".to_owned(), "61000".to_owned()), ("AWS_REGION".into(), "mine".into())]);
    }

    #[test]
    fn an_unlimited_ulimit_is_minus_one_and_an_empty_command_is_none() {
        let mut request = request();
        request.container.ulimits = vec![crate::task::Ulimit { name: "core".into(), soft: 0, hard: u64::MAX }];
        let settings = settings(&request);
        assert_eq!((settings.ulimits[0].soft, settings.ulimits[0].hard), (0, -1));
        assert_eq!((settings.command, settings.network), (None, Namespace::Own));
    }
}

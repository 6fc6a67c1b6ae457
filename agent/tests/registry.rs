//! Pulls from a registry of other people's making, with images of other people's making.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which leaves out their helpers

use berth_agent::registry::{Class, PullEvent, Registry, RegistryConfig, Request};
use berth_runtime::image::manifest::Platform;
use berth_runtime::image::{ImageRecord, Store, lookup::Layers};
use berth_test_host::TestHost;
use std::fs::File;
use std::time::Duration;

/// Runs `act` with a puller whose sockets are inside the host.
fn inside<T: Send + 'static>(host: &TestHost, act: impl AsyncFnOnce(&Registry, &Store) -> T + Send + 'static) -> T {
    let netns = File::open(format!("/proc/{}/ns/net", host.pid())).unwrap();
    let dir = host.dir().join("images");
    // A network namespace is a thread's: this one's, and that of the threads it starts.
    let thread = std::thread::spawn(move || {
        nix::sched::setns(&netns, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = RegistryConfig { pause: Duration::from_millis(10), ..RegistryConfig::default() };
        let (registry, store) = (Registry::new(config), Store::open(&dir).unwrap());
        runtime.block_on(act(&registry, &store))
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn request(name: &str) -> Request {
    Request { reference: name.parse().unwrap(), platform: Platform::node(), credentials: None }
}

/// A file of an image.
fn read(store: &Store, image: &ImageRecord, path: &str) -> Option<String> {
    let snapshot = store.snapshot("read", image).unwrap();
    let content = Layers::open(&snapshot.lower).unwrap().read(path, 1 << 20).unwrap();
    store.release("read").unwrap();
    content.map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
#[ignore = "needs root"]
fn every_format_of_one_image_is_the_same_image() {
    let mut host = TestHost::new("registry-formats");
    let images = host.registry();
    let names = ["latest", "docker", "zstd", "multi"].map(|tag| images.image(&format!("busybox:{tag}")));
    let found = inside(&host, async move |registry, store| {
        let mut found = Vec::new();
        for name in &names {
            let image = registry.pull(&request(name), store, |_| ()).await.unwrap();
            assert!(read(store, &image, "etc/passwd").unwrap().contains("user:x:1000"), "{name}");
            found.push((image.layers[0].diff_id, image.digest == image.manifest));
        }
        found
    });
    assert!(found.windows(2).all(|pair| pair[0].0 == pair[1].0), "{found:?}");
    assert_eq!(
        found.iter().map(|f| f.1).collect::<Vec<_>>(),
        [true, true, true, false],
        "only the index has another digest"
    );
}

#[test]
#[ignore = "needs root"]
fn an_index_without_this_machine_names_what_it_has() {
    let mut host = TestHost::new("registry-foreign");
    let images = host.registry();
    let (foreign, missing) = (images.image("busybox:foreign"), images.image("nothing:here"));
    inside(&host, async move |registry, store| {
        let error = registry.pull(&request(&foreign), store, |_| ()).await.unwrap_err();
        assert!(error.text().contains("the image is for "), "{}", error.text());
        assert!(error.text().ends_with(&format!("this node is {}", Platform::node())), "{}", error.text());
        let error = registry.pull(&request(&missing), store, |_| ()).await.unwrap_err();
        assert!(error.text().contains("not found in the registry"), "{}", error.text());
        assert_eq!(error.class(), Class::Terminal);
        assert!(store.images().is_empty());
    });
}

#[test]
#[ignore = "needs root"]
fn images_that_share_a_layer_are_pulled_at_once() {
    let mut host = TestHost::new("registry-layers");
    let images = host.registry();
    let (busybox, probe) = (images.image("busybox"), images.image("probe"));
    inside(&host, async move |registry, store| {
        let (busybox, probe) = (request(&busybox), request(&probe));
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let progress = move |event| told.send(event).unwrap();
        let (probe, busybox) =
            tokio::join!(registry.pull(&probe, store, progress), registry.pull(&busybox, store, |_| ()));
        let (probe, busybox) = (probe.unwrap(), busybox.unwrap());
        assert!(probe.layers.len() > 1);
        assert_eq!(probe.layers[0], busybox.layers[0]);
        assert!(read(store, &probe, "etc/passwd").is_some());
        let Some(PullEvent::Resolved { layers, .. }) = heard.recv().await else { panic!("the layers are told first") };
        assert_eq!(layers.len(), probe.layers.len());
    });
}

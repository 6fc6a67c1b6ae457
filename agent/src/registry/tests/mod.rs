//! Pulls from a registry in this process.

mod fake;

use super::error::Cause;
use super::*;
use berth_runtime::image::manifest::ManifestError;
use fake::{Fake, INDEX, Trick, Wants, layer};
use serde_json::json;
use std::sync::Mutex;
use std::time::Duration;

/// A node: its store, its puller, and what it was told.
struct Node {
    _dir: tempfile::TempDir,
    store: Store,
    registry: Registry,
    events: Arc<Mutex<Vec<PullEvent>>>,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("images")).unwrap();
        let config = RegistryConfig { pause: Duration::from_millis(1), ..RegistryConfig::default() };
        Self { _dir: dir, store, registry: Registry::new(config), events: Arc::default() }
    }

    async fn pull_as(&self, name: &str, login: Option<(&str, &str)>) -> Result<ImageRecord, PullError> {
        let credentials = login.map(|(user, password)| Credentials { user: user.into(), password: password.into() });
        let request = Request { reference: name.parse().unwrap(), platform: Platform::node(), credentials };
        let events = Arc::clone(&self.events);
        self.registry.pull(&request, &self.store, move |event| events.lock().unwrap().push(event)).await
    }

    async fn pull(&self, name: &str) -> Result<ImageRecord, PullError> {
        self.pull_as(name, None).await
    }

    fn states(&self, digest: &Digest) -> Vec<LayerState> {
        let events = self.events.lock().unwrap();
        let of = |e: &PullEvent| match e {
            PullEvent::Layer { digest: d, state } if d == digest => Some(*state),
            _ => None,
        };
        events.iter().filter_map(of).collect()
    }

    /// Content of a file of an image.
    fn read(&self, image: &ImageRecord, path: &str) -> Option<Vec<u8>> {
        let key = format!("read.{}", image.manifest.hex());
        let snapshot = self.store.snapshot(&key, image).unwrap();
        let layers = berth_runtime::image::lookup::Layers::open(&snapshot.lower).unwrap();
        let content = layers.read(path, 64 << 20).unwrap();
        self.store.release(&key).unwrap();
        content
    }
}

fn blob(name: &str, digest: &Digest) -> String {
    format!("/v2/{name}/blobs/{digest}")
}

fn big() -> Vec<u8> {
    let noise = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    layer("big", &noise.collect::<Vec<u8>>())
}

#[tokio::test]
async fn an_image_is_pulled_and_only_asked_about_the_second_time() {
    let (fake, node) = (Fake::start().await, Node::new());
    let (digest, layers) = fake.image("app", "latest", &[layer("a", b"1"), layer("b", b"2")]);
    let name = format!("{}/app", fake.address());
    let image = node.pull(&name).await.unwrap();
    assert_eq!((image.digest, image.manifest, image.layers.len()), (digest, digest, 2));
    assert_eq!(image.reference, format!("{name}:latest"));
    assert_eq!(node.read(&image, "a").as_deref(), Some(&b"1"[..]));
    assert_eq!(node.states(&layers[0]).last(), Some(&LayerState::Done));
    assert!(node.store.has_blob(&layers[0]).is_none(), "the blob of an unpacked layer is dropped");
    let before = fake.seen().len();
    let again = node.pull(&name).await.unwrap();
    assert_eq!(again.manifest, image.manifest);
    let asked: Vec<String> = fake.seen()[before..].iter().map(|s| s.method.clone()).collect();
    assert_eq!(asked, ["HEAD"]);
    assert_eq!(node.states(&layers[1]).last(), Some(&LayerState::Here));
    // By digest there is nothing to ask.
    let exact = format!("{name}@{digest}");
    node.pull(&exact).await.unwrap();
    let before = fake.seen().len();
    node.pull(&exact).await.unwrap();
    assert_eq!(fake.seen().len(), before);
}

#[tokio::test]
async fn a_tag_that_moved_is_pulled_anew_with_the_layers_it_shares() {
    let (fake, node) = (Fake::start().await, Node::new());
    let base = layer("base", b"1");
    let (_, first) = fake.image("app", "v", &[base.clone(), layer("b", b"old")]);
    let name = format!("{}/app:v", fake.address());
    node.pull(&name).await.unwrap();
    fake.image("app", "v", &[base, layer("b", b"new")]);
    let image = node.pull(&name).await.unwrap();
    assert_eq!(node.read(&image, "b").as_deref(), Some(&b"new"[..]));
    let fetched = fake.blob_requests().iter().filter(|s| s.path == blob("app", &first[0])).count();
    assert_eq!(fetched, 1, "the shared layer came once");
    assert_eq!(node.store.images().len(), 1);
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_was() {
    let (fake, node) = (Fake::start().await, Node::new());
    let (_, layers) = fake.image("app", "latest", &[big()]);
    let path = blob("app", &layers[0]);
    fake.trick(&path, [Trick::CutAfter(1_000_000), Trick::Status(503), Trick::CutAfter(500_000)]);
    let image = node.pull(&format!("{}/app", fake.address())).await.unwrap();
    assert_eq!(node.read(&image, "big").unwrap().len(), 3_000_000);
    let ranges: Vec<Option<String>> =
        fake.blob_requests().into_iter().filter(|s| s.path == path).map(|s| s.range).collect();
    assert_eq!((ranges.len(), &ranges[0]), (4, &None));
    let starts: Vec<usize> = ranges[1..]
        .iter()
        .map(|r| r.as_deref().unwrap().trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap())
        .collect();
    assert!(starts[0] > 0 && starts[0] == starts[1] && starts[2] > starts[1], "{starts:?}");
}

#[tokio::test]
async fn a_registry_that_knows_no_ranges_is_gone_on_with_too() {
    let (fake, node) = (Fake::start().await, Node::new());
    let (_, layers) = fake.image("app", "latest", &[big()]);
    fake.trick(&blob("app", &layers[0]), [Trick::CutAfter(1_000_000), Trick::NoRange]);
    let image = node.pull(&format!("{}/app", fake.address())).await.unwrap();
    assert_eq!(node.read(&image, "big").unwrap().len(), 3_000_000);
}

#[tokio::test]
async fn a_download_that_gets_no_further_ends_and_the_next_pull_takes_it_up() {
    let (fake, node) = (Fake::start().await, Node::new());
    let (_, layers) = fake.image("app", "latest", &[big()]);
    let path = blob("app", &layers[0]);
    let name = format!("{}/app", fake.address());
    fake.trick(&path, [Trick::CutAfter(1_000_000)].into_iter().chain(std::iter::repeat_n(Trick::Status(502), 5)));
    let error = node.pull(&name).await.unwrap_err();
    assert_eq!((error.class(), error.reason()), (Class::Retry, "CannotPullContainerError"));
    assert!(error.text().contains("answers 502: as told"), "{}", error.text());
    let before = fake.blob_requests().len();
    node.pull(&name).await.unwrap();
    let resumed = fake.blob_requests()[before..].iter().filter(|s| s.path == path).all(|s| s.range.is_some());
    assert!(resumed, "the bytes that came were kept");
}

#[tokio::test]
async fn wrong_bytes_are_refused_and_nothing_is_left() {
    let (fake, node) = (Fake::start().await, Node::new());
    let bytes = layer("a", b"right");
    let (_, layers) = fake.image("app", "latest", std::slice::from_ref(&bytes));
    let name = format!("{}/app", fake.address());
    let mut wrong = bytes.clone();
    wrong[512] = b'w';
    fake.trick(&blob("app", &layers[0]), [Trick::Other(wrong)]);
    let error = node.pull(&name).await.unwrap_err();
    assert_eq!(error.class(), Class::Terminal);
    assert!(error.text().contains("was asked for"), "{}", error.text());
    assert!(node.store.images().is_empty());
    let image = node.pull(&name).await.unwrap();
    assert_eq!(node.read(&image, "a").as_deref(), Some(&b"right"[..]));
    // More than was announced is cut off at once.
    let (_, layers) = fake.image("long", "latest", &[layer("a", b"2")]);
    fake.trick(&blob("long", &layers[0]), [Trick::Other(vec![0; 1 << 20])]);
    let error = node.pull(&format!("{}/long", fake.address())).await.unwrap_err();
    assert!(error.text().contains("its descriptor says 2048"), "{}", error.text());
}

#[tokio::test]
async fn a_document_that_is_not_its_digest_is_refused() {
    let (fake, node) = (Fake::start().await, Node::new());
    let (digest, _) = fake.image("app", "latest", &[layer("a", b"1")]);
    let (other, _) = fake.manifest("app", &[layer("a", b"evil")], &Platform::node().architecture);
    fake.put(&format!("/v2/app/manifests/{digest}"), fake::MANIFEST, &other);
    let error = node.pull(&format!("{}/app@{digest}", fake.address())).await.unwrap_err();
    assert!(matches!(error.cause, Cause::WrongDigest { expected, .. } if expected == digest));
    assert_eq!((error.class(), error.reason()), (Class::Terminal, "CannotPullImageManifestError"));
}

#[tokio::test]
async fn a_layer_that_is_not_what_the_configuration_means_is_refused() {
    let (fake, node) = (Fake::start().await, Node::new());
    let (manifest, _) = fake.manifest("app", &[layer("a", b"1")], &Platform::node().architecture);
    let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let other = layer("a", b"other");
    fake.put(&blob("app", &Digest::of(&other)), "x", &other);
    manifest["layers"][0]["digest"] = json!(Digest::of(&other));
    manifest["layers"][0]["size"] = json!(other.len());
    fake.put("/v2/app/manifests/latest", fake::MANIFEST, manifest.to_string().as_bytes());
    let error = node.pull(&format!("{}/app", fake.address())).await.unwrap_err();
    assert!(error.text().contains("the image says"), "{}", error.text());
    assert!(node.store.images().is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_called_so_by_name() {
    let (fake, node) = (Fake::start().await, Node::new());
    let name = format!("{}/none:v9", fake.address());
    let error = node.pull(&name).await.unwrap_err();
    assert_eq!((error.class(), error.reason()), (Class::Terminal, "CannotPullImageManifestError"));
    let expected =
        format!("CannotPullImageManifestError: pull image `{name}`: not found in the registry `{}`", fake.address());
    assert_eq!(error.text(), expected);
    assert!(error.hint().is_some());
    assert_eq!(fake.seen().len(), 1, "asking again would not help");
}

#[tokio::test]
async fn no_registry_is_an_error_to_try_again() {
    let node = Node::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = node.pull(&format!("{free}/app")).await.unwrap_err();
    assert_eq!(error.class(), Class::Retry);
    assert!(error.text().contains(&format!("no answer from `{free}`")), "{}", error.text());
}

#[tokio::test]
async fn the_manifest_of_this_platform_is_chosen_and_others_are_named() {
    let (fake, node) = (Fake::start().await, Node::new());
    let mine = Platform::node().architecture;
    let (manifest, _) = fake.manifest("app", &[layer("a", b"mine")], &mine);
    let (other, _) = fake.manifest("app", &[layer("a", b"other")], "s390x");
    let entry = |bytes: &[u8], architecture: &str| {
        json!({ "mediaType": fake::MANIFEST, "digest": Digest::of(bytes), "size": bytes.len(),
                "platform": { "os": "linux", "architecture": architecture } })
    };
    let attestation = json!({ "mediaType": fake::MANIFEST, "digest": Digest::of(b"x"), "size": 1,
                              "platform": { "os": "unknown", "architecture": "unknown" } });
    let index =
        json!({ "schemaVersion": 2, "manifests": [entry(&other, "s390x"), entry(&manifest, &mine), attestation] });
    let index = index.to_string().into_bytes();
    fake.put("/v2/app/manifests/latest", INDEX, &index);
    let image = node.pull(&format!("{}/app", fake.address())).await.unwrap();
    assert_eq!((image.digest, image.manifest), (Digest::of(&index), Digest::of(&manifest)));
    assert_eq!(node.read(&image, "a").as_deref(), Some(&b"mine"[..]));
    let index = json!({ "schemaVersion": 2, "manifests": [entry(&other, "s390x"), attestation] }).to_string();
    fake.put("/v2/app/manifests/far", INDEX, index.as_bytes());
    fake.put("/v2/app/manifests/lone", fake::MANIFEST, &other);
    for tag in ["far", "lone"] {
        let error = node.pull(&format!("{}/app:{tag}", fake.address())).await.unwrap_err();
        assert!(matches!(&error.cause, Cause::Manifest(ManifestError::NoPlatform { .. })), "{error:?}");
        assert!(error.text().ends_with(&format!("the image is for s390x, this node is {mine}")), "{}", error.text());
        assert_eq!(error.class(), Class::Terminal);
    }
}

#[tokio::test]
async fn a_bearer_challenge_is_answered_once_for_all_requests() {
    let (fake, node) = (Fake::start().await, Node::new());
    fake.image("app", "latest", &[layer("a", b"1"), layer("b", b"2")]);
    fake.want(Wants::Bearer, None);
    node.pull(&format!("{}/app", fake.address())).await.unwrap();
    assert_eq!(fake.seen().iter().filter(|s| s.path == "/token").count(), 1);
}

#[tokio::test]
async fn the_password_goes_to_the_token_server_only() {
    let (fake, node) = (Fake::start().await, Node::new());
    fake.image("app", "latest", &[layer("a", b"1")]);
    let login = Credentials { user: "u".into(), password: "p".into() }.basic();
    fake.want(Wants::Bearer, Some(&login));
    let name = format!("{}/app", fake.address());
    let error = node.pull(&name).await.unwrap_err();
    assert!(error.text().ends_with("denies access, no credentials were given"), "{}", error.text());
    node.pull_as(&name, Some(("u", "wrong"))).await.unwrap_err();
    node.pull_as(&name, Some(("u", "p"))).await.unwrap();
    let with_password: Vec<String> =
        fake.seen().into_iter().filter(|s| s.authorization.as_ref() == Some(&login)).map(|s| s.path).collect();
    assert_eq!(with_password, ["/token"]);
}

#[tokio::test]
async fn a_token_that_ran_out_is_renewed() {
    let (fake, node) = (Fake::start().await, Node::new());
    fake.image("app", "latest", &[layer("a", b"1")]);
    fake.want(Wants::Bearer, None);
    let name = format!("{}/app", fake.address());
    node.pull(&name).await.unwrap();
    // Somebody else's token makes ours invalid.
    let url = format!("http://{}/token", fake.address());
    reqwest::get(url).await.unwrap();
    node.pull(&name).await.unwrap();
}

#[tokio::test]
async fn a_basic_challenge_gets_name_and_password() {
    let (fake, node) = (Fake::start().await, Node::new());
    fake.image("app", "latest", &[layer("a", b"1")]);
    let login = Credentials { user: "u".into(), password: "p".into() }.basic();
    fake.want(Wants::Basic, Some(&login));
    let name = format!("{}/app", fake.address());
    let error = node.pull(&name).await.unwrap_err();
    assert_eq!(error.class(), Class::Terminal);
    node.pull_as(&name, Some(("u", "p"))).await.unwrap();
}

#[tokio::test]
async fn secrets_do_not_follow_a_redirect_to_another_host() {
    let (fake, storage, node) = (Fake::start().await, Fake::start().await, Node::new());
    let layers = [layer("a", b"1")];
    fake.image("app", "latest", &layers);
    storage.image("app", "latest", &layers);
    let login = Credentials { user: "u".into(), password: "p".into() }.basic();
    fake.want(Wants::Basic, Some(&login));
    fake.blobs_are_at(&storage);
    node.pull_as(&format!("{}/app", fake.address()), Some(("u", "p"))).await.unwrap();
    let asked = storage.seen();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|s| s.authorization.is_none()), "{asked:?}");
    assert!(fake.blob_requests().iter().any(|s| s.authorization.is_some()));
}

#[tokio::test]
async fn a_redirect_to_a_place_without_tls_is_not_followed() {
    let (fake, node) = (Fake::start().await, Node::new());
    fake.image("app", "latest", &[layer("a", b"1")]);
    fake.redirect_blobs("http://198.51.100.7");
    let error = node.pull(&format!("{}/app", fake.address())).await.unwrap_err();
    assert!(error.text().contains("`198.51.100.7` would be asked without TLS"), "{}", error.text());
}

#[tokio::test]
async fn many_pulls_of_one_image_download_it_once() {
    let (fake, node) = (Fake::start().await, Node::new());
    let (_, layers) = fake.image("app", "latest", &[big(), layer("b", b"2")]);
    fake.image("other", "latest", &[big(), layer("c", b"3")]);
    let release = Arc::new(tokio::sync::Notify::new());
    fake.trick(&blob("app", &layers[0]), [Trick::Wait(Arc::clone(&release))]);
    let name = format!("{}/app", fake.address());
    let all = async { tokio::join!(node.pull(&name), node.pull(&name), node.pull(&name)) };
    let open = async {
        while fake.blob_requests().iter().filter(|s| s.path == blob("app", &layers[0])).count() == 0 {
            tokio::task::yield_now().await;
        }
        release.notify_one();
    };
    let ((a, b, c), ()) = tokio::join!(all, open);
    assert_eq!((a.unwrap().manifest, b.unwrap().manifest), (c.as_ref().unwrap().manifest, c.unwrap().manifest));
    let fetched = fake.blob_requests().iter().filter(|s| s.path == blob("app", &layers[0])).count();
    assert_eq!(fetched, 1);
}

#[tokio::test]
async fn a_pull_that_is_given_up_leaves_its_bytes_to_the_next_in_line() {
    let (fake, node) = (Fake::start().await, Node::new());
    let (_, layers) = fake.image("app", "latest", &[big()]);
    let path = blob("app", &layers[0]);
    let name = format!("{}/app", fake.address());
    fake.trick(&path, [Trick::CutAfter(1_000_000), Trick::Wait(Arc::default())]);
    {
        let first = node.pull(&name);
        let hangs = async {
            while fake.blob_requests().iter().filter(|s| s.path == path).count() < 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            done = first => panic!("{done:?}"),
            () = hangs => {}
        }
    }
    let image = node.pull(&name).await.unwrap();
    assert_eq!(node.read(&image, "big").unwrap().len(), 3_000_000);
    assert!(fake.blob_requests().last().unwrap().range.is_some());
}

#[tokio::test]
async fn equal_layers_and_no_layers_are_images_too() {
    let (fake, node) = (Fake::start().await, Node::new());
    let same = layer("a", b"1");
    fake.image("twice", "latest", &[same.clone(), layer("b", b"2"), same]);
    fake.image("scratch", "latest", &[]);
    let image = node.pull(&format!("{}/twice", fake.address())).await.unwrap();
    assert_eq!(image.layers.len(), 3);
    let image = node.pull(&format!("{}/scratch", fake.address())).await.unwrap();
    assert_eq!(node.store.snapshot("k", &image).unwrap().lower.len(), 1);
}

#[tokio::test]
async fn a_name_is_resolved_without_pulling() {
    let (fake, node) = (Fake::start().await, Node::new());
    let (digest, _) = fake.image("app", "latest", &[layer("a", b"1")]);
    let reference = format!("{}/app", fake.address()).parse().unwrap();
    let request = Request { reference, platform: Platform::node(), credentials: None };
    assert_eq!(node.registry.resolve(&request).await.unwrap(), digest);
    assert!(node.store.images().is_empty());
}

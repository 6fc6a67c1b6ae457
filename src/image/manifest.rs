//! Manifests and indexes as registries give them, OCI's and Docker's (version 2, schema 2), and the choice of platform.
//!
//! What a document is comes from its media type; where neither the document nor the registry says one (umoci's manifests
//! have no `mediaType`, some registries answer `application/json`), from its members: `manifests` makes an index, `config`
//! and `layers` a manifest. Everything here is foreign, bounded and pure.

use super::digest::Digest;
use serde::Deserialize;
use std::fmt;

/// The largest manifest, index or image configuration that is read, in bytes (registries refuse more than 4 MiB).
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// The most layers of one image. overlayfs takes 500, and the paths must fit the kernel's page of mount options.
pub const MAX_LAYERS: usize = 127;

/// Media types to ask a registry for, most wanted first.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Where some bytes are and what they are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type; empty where the document leaves it out.
    #[serde(default)]
    pub media_type: String,
    /// Content address.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
    /// In an index: what it runs on.
    #[serde(default)]
    pub platform: Option<Platform>,
}

/// What an image runs on, in the words of Go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// Such as `amd64`, `arm64`.
    pub architecture: String,
    /// Such as `linux`.
    pub os: String,
    /// Such as `v7` of `arm`.
    #[serde(default)]
    pub variant: Option<String>,
}

impl Platform {
    /// The platform of this node.
    pub fn node() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self { architecture: architecture.into(), os: "linux".into(), variant: variant.map(str::to_owned) }
    }

    /// How well an image for `other` runs here: `None` is not at all, less is better.
    fn distance(&self, other: &Self) -> Option<u8> {
        if self.os != other.os || self.architecture != other.architecture {
            return None;
        }
        // No variant means the usual one: v8 for arm64, v7 for arm, v1 for amd64.
        let number = |p: &Self| {
            let usual = match p.architecture.as_str() {
                "arm64" => 8,
                "arm" => 7,
                _ => 1,
            };
            p.variant.as_deref().and_then(|v| v.strip_prefix('v')?.parse::<u8>().ok()).unwrap_or(usual)
        };
        number(self).checked_sub(number(other))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os != "linux" {
            write!(f, "{}/", self.os)?;
        }
        f.write_str(&self.architecture)?;
        match &self.variant {
            None => Ok(()),
            // Every arm64 is a v8: people do not say it.
            Some(variant) if variant.is_empty() || (self.architecture == "arm64" && variant == "v8") => Ok(()),
            Some(variant) => write!(f, "/{variant}"),
        }
    }
}

/// A document that a registry gave under an image's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// One image for each of several platforms.
    Index(Index),
}

/// One image: its configuration and its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The image configuration.
    pub config: Descriptor,
    /// Layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// Manifests by platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The manifests, in the index's order.
    pub manifests: Vec<Descriptor>,
}

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not JSON, or members have the wrong form.
    #[error("parse the manifest")]
    Syntax(#[source] serde_json::Error),
    /// It is neither a manifest nor an index that is known.
    #[error("the registry's document is of type `{0}`, which is neither a manifest nor an index")]
    Unknown(String),
    /// It is a manifest of Docker's first form, which has no configuration.
    #[error("the manifest is of Docker's schema 1, which is no longer supported; push the image again")]
    Schema1,
    /// A limit is passed.
    #[error("the manifest has {count} layers, the limit is {MAX_LAYERS}")]
    TooManyLayers {
        /// How many it has.
        count: usize,
    },
    /// A layer of a kind that is not understood.
    #[error("layer {digest} is of type `{media_type}`, which is not a layer that can be unpacked")]
    UnknownLayer {
        /// Which layer.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
    /// The index has nothing for this node.
    #[error("the image is for {}, this node is {node}", list(.present))]
    NoPlatform {
        /// What the node is.
        node: Platform,
        /// What there is.
        present: Vec<Platform>,
    },
}

fn list(platforms: &[Platform]) -> String {
    let mut names: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    names.dedup();
    if names.is_empty() { "no platform at all".into() } else { names.join(", ") }
}

/// Members of both forms, every one optional: which it is, is decided afterwards.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u32>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// Reads a document. `content_type` is the registry's word for it, used where the document itself has none.
pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Document, ManifestError> {
    let raw: Raw = serde_json::from_slice(bytes).map_err(ManifestError::Syntax)?;
    let said = raw.media_type.as_deref().or(content_type).unwrap_or_default();
    let said = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if raw.schema_version == Some(1)
        || said.contains("manifest.v1+prettyjws")
        || said.contains("docker.distribution.manifest.v1")
    {
        return Err(ManifestError::Schema1);
    }
    // Both member sets at once would let two readers of one digest see two images.
    match (raw.manifests, raw.config, raw.layers) {
        (Some(manifests), None, None) if !is_manifest(&said) => Ok(Document::Index(Index { manifests })),
        (None, Some(config), Some(layers)) if !is_index(&said) => {
            check_layers(&layers)?;
            Ok(Document::Manifest(Manifest { config, layers }))
        }
        _ => Err(ManifestError::Unknown(if said.is_empty() {
            "unknown".into()
        } else {
            said.chars().take(100).collect()
        })),
    }
}

fn is_manifest(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json"
    )
}

fn is_index(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json"
    )
}

/// Compression is recognised by the bytes; here only what is surely no tar is refused (foreign layers are fetched from
/// elsewhere, artifacts are not layers at all, encrypted layers cannot be read).
fn check_layers(layers: &[Descriptor]) -> Result<(), ManifestError> {
    if layers.len() > MAX_LAYERS {
        return Err(ManifestError::TooManyLayers { count: layers.len() });
    }
    for layer in layers {
        let t = layer.media_type.as_str();
        let tar = t.is_empty() || (t.contains("tar") && !t.contains("foreign") && !t.contains("encrypted"));
        if !tar {
            let media_type = t.chars().take(100).collect();
            return Err(ManifestError::UnknownLayer { digest: layer.digest, media_type });
        }
    }
    Ok(())
}

impl Index {
    /// The manifest that runs best on `node`.
    pub fn select(&self, node: &Platform) -> Result<&Descriptor, ManifestError> {
        let best = self
            .manifests
            .iter()
            .filter_map(|m| Some((m.platform.as_ref().and_then(|p| node.distance(p))?, m)))
            .min_by_key(|(distance, _)| *distance);
        // An index of one image without a platform is what some tools push: its configuration is checked later.
        let lone = || self.manifests.first().filter(|m| self.manifests.len() == 1 && m.platform.is_none());
        best.map(|(_, m)| m).or_else(lone).ok_or_else(|| ManifestError::NoPlatform {
            node: node.clone(),
            // Attestations are listed for the platform unknown/unknown.
            present: self.manifests.iter().filter_map(|m| m.platform.clone()).filter(|p| p.os != "unknown").collect(),
        })
    }
}

/// Checks that a configuration is for `node`: a manifest that is in no index says it only there.
pub fn check_platform(
    architecture: &str,
    os: &str,
    variant: Option<&str>,
    node: &Platform,
) -> Result<(), ManifestError> {
    let image = Platform { architecture: architecture.into(), os: os.into(), variant: variant.map(str::to_owned) };
    if node.distance(&image).is_some() {
        return Ok(());
    }
    Err(ManifestError::NoPlatform { node: node.clone(), present: vec![image] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amd64() -> Platform {
        Platform { architecture: "amd64".into(), os: "linux".into(), variant: None }
    }

    fn descriptor(content: &str) -> String {
        format!(r#"{{"digest":"{}","size":3}}"#, Digest::of(content.as_bytes()))
    }

    fn index(platforms: &[(&str, Option<&str>)]) -> Index {
        let manifests = platforms.iter().map(|(architecture, variant)| Descriptor {
            media_type: String::new(),
            digest: Digest::of(format!("{architecture}{variant:?}").as_bytes()),
            size: 1,
            platform: Some(Platform {
                architecture: (*architecture).into(),
                os: "linux".into(),
                variant: variant.map(str::to_owned),
            }),
        });
        Index { manifests: manifests.collect() }
    }

    #[test]
    fn a_manifest_without_a_media_type_is_known_by_its_members() {
        let text = format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#, descriptor("c"), descriptor("l"));
        let Document::Manifest(m) = parse(text.as_bytes(), Some("application/json")).unwrap() else { panic!() };
        assert_eq!((m.config.digest, m.layers.len()), (Digest::of(b"c"), 1));
    }

    #[test]
    fn a_document_with_both_forms_is_refused() {
        let d = descriptor("x");
        let text = format!(r#"{{"config":{d},"layers":[],"manifests":[{d}]}}"#);
        assert!(matches!(parse(text.as_bytes(), None), Err(ManifestError::Unknown(_))));
        let text = format!(r#"{{"config":{d},"layers":[]}}"#);
        let said = Some("application/vnd.oci.image.index.v1+json; charset=utf-8");
        assert!(matches!(parse(text.as_bytes(), said), Err(ManifestError::Unknown(_))));
    }

    #[test]
    fn schema_1_and_foreign_layers_are_refused_by_name() {
        let old = br#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#;
        assert!(matches!(parse(old, None), Err(ManifestError::Schema1)));
        let t = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        let layer = format!(r#"{{"mediaType":"{t}","digest":"{}","size":3}}"#, Digest::of(b"l"));
        let text = format!(r#"{{"schemaVersion":2,"config":{},"layers":[{layer}]}}"#, descriptor("c"));
        assert!(matches!(parse(text.as_bytes(), None), Err(ManifestError::UnknownLayer { .. })));
    }

    #[test]
    fn the_error_names_the_architectures_there_are() {
        let error = index(&[("arm64", Some("v8")), ("s390x", None)]).select(&amd64()).unwrap_err();
        assert_eq!(error.to_string(), "the image is for arm64, s390x, this node is amd64");
    }

    #[test]
    fn the_nearest_variant_that_the_node_can_run_is_chosen() {
        let arm = Platform { architecture: "arm".into(), os: "linux".into(), variant: Some("v7".into()) };
        let found = index(&[("arm", Some("v5")), ("arm", Some("v6")), ("arm", Some("v8"))]);
        assert_eq!(found.select(&arm).unwrap(), &found.manifests[1]);
        let found = index(&[("amd64", Some("v3")), ("amd64", None)]);
        assert_eq!(found.select(&amd64()).unwrap(), &found.manifests[1]);
    }

    #[test]
    fn a_configuration_for_another_architecture_is_refused() {
        let error = check_platform("arm64", "linux", None, &amd64()).unwrap_err();
        assert_eq!(error.to_string(), "the image is for arm64, this node is amd64");
        check_platform("amd64", "linux", None, &amd64()).unwrap();
    }

    proptest::proptest! {
        /// Foreign documents are an error or a value: members of the right names with any values, in any number.
        #[test]
        fn any_document_is_read_or_refused(
            members in proptest::collection::vec(("schemaVersion|mediaType|config|layers|manifests|platform", 0u8..9), 0..6)
        ) {
            let d = descriptor("x");
            let text: Vec<String> = members
                .iter()
                .map(|(name, value)| {
                    let value = match value {
                        0 => "2".into(),
                        1 => "null".into(),
                        2 => "[]".into(),
                        3 => "{}".into(),
                        4 => d.clone(),
                        5 => format!("[{d},{d}]"),
                        6 => "\"application/vnd.oci.image.index.v1+json\"".into(),
                        7 => "-1".into(),
                        _ => format!("[{}]", d.replace("size\":3", "size\":1,\"platform\":{\"os\":\"linux\",\"architecture\":\"\"}")),
                    };
                    format!("\"{name}\":{value}")
                })
                .collect();
            if let Ok(Document::Index(index)) = parse(format!("{{{}}}", text.join(",")).as_bytes(), None) {
                let _ = index.select(&amd64());
            }
        }
    }
}

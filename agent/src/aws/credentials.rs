//! Where the keys come from that requests are signed with.
//!
//! In this order: a file that was named, the environment, a file that the environment names. Instance roles are for a
//! later release; their place is another variant of [`Provider`].

use std::fmt;
use std::path::{Path, PathBuf};

/// Keys to sign with. `Debug` leaves the secrets out.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Names the pair in a signature.
    pub access_key_id: String,
    /// What signatures are made with.
    pub secret_access_key: String,
    /// Sent along where the keys are temporary.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// There are no keys to sign with.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("read credentials `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file has no pair of keys.
    #[error("credentials `{}`: no profile has both aws_access_key_id and aws_secret_access_key", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
    /// Nobody has said where the keys are.
    #[error("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a file with --credentials-file")]
    Missing,
}

/// A place where keys are found. Files are read again for each use, so that they can be replaced while the agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// Always the same.
    Fixed(Credentials),
    /// In the AWS CLI's format.
    File(PathBuf),
}

impl Provider {
    /// Chooses by what is configured; `env` answers `None` for a variable that is not set.
    pub fn choose(file: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, CredentialsError> {
        let env = |name: &str| env(name).filter(|v| !v.is_empty());
        if let Some(file) = file {
            return Ok(Self::File(file.to_owned()));
        }
        if let (Some(access_key_id), Some(secret_access_key)) = (env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY"))
        {
            let session_token = env("AWS_SESSION_TOKEN");
            return Ok(Self::Fixed(Credentials { access_key_id, secret_access_key, session_token }));
        }
        env("AWS_SHARED_CREDENTIALS_FILE").map(|path| Self::File(path.into())).ok_or(CredentialsError::Missing)
    }

    /// The keys as they are now.
    pub fn credentials(&self) -> Result<Credentials, CredentialsError> {
        match self {
            Self::Fixed(credentials) => Ok(credentials.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|source| CredentialsError::Read { path: path.clone(), source })?;
                parse(&text).ok_or_else(|| CredentialsError::Incomplete { path: path.clone() })
            }
        }
    }
}

/// Reads the AWS CLI's format: the keys of the first profile that has both.
fn parse(text: &str) -> Option<Credentials> {
    let mut profiles: Vec<[Option<String>; 3]> = vec![Default::default()];
    for line in text.lines().map(str::trim).filter(|l| !l.starts_with('#') && !l.starts_with(';')) {
        if line.starts_with('[') {
            profiles.push(Default::default());
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let names = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];
        let Some(n) = names.iter().position(|known| *known == name.trim()) else { continue };
        if let Some(profile) = profiles.last_mut() {
            profile[n] = Some(value.trim().to_owned()).filter(|v| !v.is_empty());
        }
    }
    profiles.into_iter().find_map(|[id, secret, session_token]| {
        Some(Credentials { access_key_id: id?, secret_access_key: secret?, session_token })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_profile_with_both_keys_counts() {
        let text = "[a]\naws_access_key_id = X\n[b]\n# note\naws_access_key_id=K\naws_secret_access_key = S=\n";
        let keys = parse(text).unwrap();
        assert_eq!((keys.access_key_id.as_str(), keys.secret_access_key.as_str()), ("K", "S="));
        assert_eq!(parse("[a]\naws_access_key_id = X\n"), None);
    }

    #[test]
    fn a_named_file_comes_before_the_environment() {
        let env = |name: &str| Some(format!("{name}-value"));
        assert_eq!(Provider::choose(Some(Path::new("/x")), env).unwrap(), Provider::File("/x".into()));
        let Provider::Fixed(keys) = Provider::choose(None, env).unwrap() else { panic!() };
        assert_eq!(keys.session_token.as_deref(), Some("AWS_SESSION_TOKEN-value"));
        assert!(matches!(Provider::choose(None, |_| None), Err(CredentialsError::Missing)));
    }

    #[test]
    fn secrets_are_not_shown() {
        let keys = Credentials { access_key_id: "K".into(), secret_access_key: "S3CRET".into(), session_token: None };
        assert!(!format!("{keys:?}").contains("S3CRET"));
    }
}

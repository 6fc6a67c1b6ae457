//! The one pair of keys that clients and agents sign with. Made at the first start, kept in a file that the AWS CLI
//! and SDKs read as it is (`AWS_SHARED_CREDENTIALS_FILE`).

use crate::OpenError;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// An access key and its secret. `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Names the pair in a signature.
    pub access_key_id: String,
    /// What signatures are made with.
    pub secret_access_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads the file at `path`, or makes a pair and writes it there, readable by its owner only.
    pub(crate) fn load_or_create(path: &Path) -> Result<Self, OpenError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).ok_or_else(|| OpenError::Credentials {
                path: path.to_owned(),
                hint: "delete it to have a new pair made",
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::create(path),
            Err(source) => Err(OpenError::Io { op: "read", path: path.to_owned(), source }),
        }
    }

    /// Reads the AWS CLI's format: the keys of the first profile that has both.
    pub fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                (key.trim() == name).then(|| value.trim().to_owned()).filter(|value| !value.is_empty())
            })
        };
        Some(Self { access_key_id: value("aws_access_key_id")?, secret_access_key: value("aws_secret_access_key")? })
    }

    fn create(path: &Path) -> Result<Self, OpenError> {
        let made = Self { access_key_id: format!("BERTH{}", random(UPPER, 15)?), secret_access_key: random(ALL, 40)? };
        let text = format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            made.access_key_id, made.secret_access_key
        );
        // Whole or not at all: a crash between the two must not leave half a secret that would be refused for ever.
        let part = path.with_extension("part");
        let io = |op| move |source| OpenError::Io { op, path: path.to_owned(), source };
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(io("create"))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io("write"))?;
        fs::rename(&part, path).map_err(io("rename into place"))?;
        Ok(made)
    }
}

const UPPER: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const ALL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `len` characters of `alphabet`, whose size divides 256, so that each is as likely as the others.
fn random(alphabet: &[u8], len: usize) -> Result<String, OpenError> {
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes).map_err(|source| OpenError::Random { source })?;
    Ok(bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_pair_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let made = Credentials::load_or_create(&path).unwrap();
        assert_eq!(made.access_key_id.len(), 20);
        assert_eq!(made.secret_access_key.len(), 40);
        assert_eq!(Credentials::load_or_create(&path).unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{made:?}").contains(&made.secret_access_key));
    }

    #[test]
    fn a_damaged_file_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        fs::write(&path, "[default]\naws_access_key_id = A\n").unwrap();
        let error = Credentials::load_or_create(&path).unwrap_err();
        assert!(error.to_string().contains("credentials"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "[default]\naws_access_key_id = A\n");
    }
}

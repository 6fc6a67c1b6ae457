//! Images on disk: blobs, unpacked layers, snapshots and the leases that pin them.
//!
//! ```text
//! DIR/version                 layout of this directory
//! DIR/lock                    flock of the one process that has the store open (the agent)
//! DIR/ingest/HEX              a blob on its way in; kept when a download breaks off, to go on from there
//! DIR/blobs/HEX               a blob whose digest was checked: manifests and configurations; layers only until unpacked
//! DIR/tmp/                    layers being unpacked and trees being removed; emptied at every start
//! DIR/l/ID                    an unpacked layer, as overlayfs takes it; ID is short because all paths share one page
//! DIR/chains/HEX              index: chain id → layer id, diff id, size; a layer exists when its entry does
//! DIR/images/HEX              an image by the digest of its name
//! DIR/leases/KEY              pins the layers of one snapshot; written and synced before the snapshot is handed out
//! DIR/snapshots/KEY/{upper,work}   where a container writes
//! ```
//!
//! # Life of a layer
//!
//! `blob_writer` → bytes (checked by digest while they are written) → [`Store::unpack`] reads the same bytes as they come,
//! into `tmp` → [`Store::adopt`] settles what the layers below decide, renames to `l/ID` and writes the index entry. The
//! blob is dropped then: it would double the disk's use for a layer that is never read again, and a registry has it.
//! The same content on other layers is not unpacked again, unless it depended on them.
//!
//! # Crashes
//!
//! A process that dies leaves files in `tmp` and `ingest`, and perhaps a directory in `l` without an index entry: all are
//! removed at the next start. A machine that dies may also lose file data that was never written back. Syncing each layer
//! would make every pull wait for the disk, so an index entry names the boot it was made in until [`Store::settle`] has
//! synced the file system: an entry of another boot is not believed, and the layer is pulled again. Records and
//! configurations that are lost or torn are pulled again as well. Leases are synced before anything relies on them.
//!
//! # Who may remove what
//!
//! A layer stays while an image record, a lease or a pull in progress ([`Pin`]) names it. Clean-up reads these and nothing
//! else, so it needs no word from the agent's own store. All of it is decided under one lock of this process; the `lock`
//! file keeps others away. Everything here is blocking; the directory is root's alone, since layers hold set-user-id files.

mod blob;
mod clean;
pub mod digest;
pub mod extract;
mod files;
mod layer;
mod lease;
pub mod lookup;
pub mod manifest;
mod record;
pub mod reference;
pub mod snapshot;
mod store;
mod tree;

pub use blob::{BlobReader, BlobWriter};
pub use clean::{CleanUp, Cleaned};
pub use digest::Digest;
pub use extract::{ExtractError, Limits};
pub use layer::{Pin, Unpacked};
pub use record::{ImageRecord, LayerRecord, parse_config};
pub use reference::Reference;
pub use snapshot::Snapshot;
pub use store::{Store, StoreError};

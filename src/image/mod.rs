//! Images on disk: blobs, unpacked layers, snapshots and the leases that pin them.

pub mod snapshot;

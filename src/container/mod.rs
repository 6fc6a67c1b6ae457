//! An OCI container: its state, one file per verb, and its init as ordered stages.

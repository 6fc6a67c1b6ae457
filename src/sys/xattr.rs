//! Extended attributes and other metadata that nix does not set by descriptor.

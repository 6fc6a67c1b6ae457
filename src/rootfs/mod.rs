//! A container's root file system: put together from a snapshot or a directory, entered by pivot_root.

//! openat2(2): paths that cannot leave their root.

//! clone3(2), namespaces and what runs between clone and exec.

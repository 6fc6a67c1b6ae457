//! Image configuration and a task's overrides, made into an OCI bundle.

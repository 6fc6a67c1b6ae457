//! OCI config.json, parsed and checked into a plan. Pure.

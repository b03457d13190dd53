//! Long and large: memory under big uploads, a million keys. `make soak` runs these; each prints its figures.

mod listing;
mod memory;

//! Long and large: memory under big uploads, a million keys, ranges of encrypted objects. `make soak` runs these; each prints its figures.

mod encryption;
mod listing;
mod memory;

//! Who asks, and whether they may: pure decisions over a request, accounts, lists and policies.

//! See tests/api/migrate.rs for migrations between servers.

//! How RocksDB is set up, and why.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode,
    DEFAULT_COLUMN_FAMILY_NAME, InfoLogger, LogLevel, Options,
};

use super::keys::SEQUENCES;
use crate::metadata::Table;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What an operator may want to change. Sizes are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RocksOptions {
    /// Cache of uncompressed blocks, index and filter blocks, and small bodies. Allocated as it fills.
    pub block_cache_bytes: usize,
    /// Bound of all write buffers together. Allocated as they fill.
    pub write_buffer_bytes: usize,
    /// Bound of the write-ahead log, which is read at start: about 4 ms of start-up per MiB.
    pub max_wal_bytes: u64,
    /// Bound of open table and blob files.
    pub max_open_files: i32,
    /// Batches that may wait for the committer; the next is refused with [`MetadataError::Busy`].
    ///
    /// [`MetadataError::Busy`]: crate::metadata::MetadataError::Busy
    pub queue_batches: usize,
    /// Bytes of keys and values that may wait for the committer.
    pub queue_bytes: usize,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 48 * MIB,
            write_buffer_bytes: 64 * MIB,
            max_wal_bytes: 128 * MIB as u64,
            max_open_files: 512,
            queue_batches: 4096,
            queue_bytes: 64 * MIB,
        }
    }
}

/// The options of the database as a whole.
pub(super) fn database(options: &RocksOptions) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_paranoid_checks(true);
    // Unfinished ends are cut off before (`log`): any damage that is left is for the operator.
    db.set_wal_recovery_mode(DBRecoveryMode::AbsoluteConsistency);
    // A log that is missing or shorter than when it was closed is noticed at start.
    db.set_track_and_verify_wals_in_manifest(true);
    db.set_max_total_wal_size(options.max_wal_bytes);
    db.set_db_write_buffer_size(options.write_buffer_bytes);
    db.set_max_open_files(options.max_open_files);
    db.set_skip_stats_update_on_db_open(true);
    db.set_max_background_jobs(2);
    // Spread write-back, so that a sync of the log never waits for a burst of somebody else's dirty pages.
    db.set_bytes_per_sync(MIB as u64);
    db.set_wal_bytes_per_sync(MIB as u64);
    db.set_max_manifest_file_size(16 * MIB);
    db.set_manifest_preallocation_size(64 * KIB);
    // One thread writes: what coordinates several writers is only in its way.
    db.set_allow_concurrent_memtable_write(false);
    db.set_enable_write_thread_adaptive_yield(false);
    // Instead of a file of its own, which each start fills with a hundred kilobytes of options.
    db.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Warn, forward));
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db
}

/// Passes the library's warnings on.
fn forward(level: LogLevel, message: &str) {
    let message = message.trim_end();
    match level {
        LogLevel::Warn => tracing::warn!(target: "rocksdb", "{message}"),
        LogLevel::Error | LogLevel::Fatal => tracing::error!(target: "rocksdb", "{message}"),
        LogLevel::Debug | LogLevel::Info | LogLevel::Header => {}
    }
}

/// Every column family with its options.
pub(super) fn columns(options: &RocksOptions) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(options.block_cache_bytes);
    let mut columns: Vec<_> = Table::ALL
        .iter()
        .map(|table| ColumnFamilyDescriptor::new(table.name(), column(*table, options, &cache)))
        .collect();
    columns.push(ColumnFamilyDescriptor::new(SEQUENCES, records(options, &cache)));
    // RocksDB insists on it; nothing is kept there.
    columns.push(ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, records(options, &cache)));
    columns
}

fn column(table: Table, options: &RocksOptions, cache: &Cache) -> Options {
    let mut column = records(options, cache);
    match table {
        Table::Bodies => {
            // A body is written once more when its memtable is flushed and then stays where it is: compaction moves
            // references only. Bodies are not compressed: most are already, and a GET would pay for it.
            column.set_enable_blob_files(true);
            column.set_min_blob_size(2 * KIB as u64);
            column.set_blob_file_size(64 * MIB as u64);
            column.set_blob_compression_type(DBCompressionType::None);
            column.set_blob_cache(cache);
            column.set_enable_blob_gc(true);
            column.set_blob_gc_age_cutoff(0.25);
            column.set_blob_gc_force_threshold(0.5);
        }
        Table::Journal | Table::Garbage | Table::Pending | Table::AccessLines => {
            // Queues: entries die young at the front. Tables that are mostly tombstones are compacted
            // early, so that a scan from the start does not wade through them.
            column.add_compact_on_deletion_collector_factory(4096, 1024, 0.5);
        }
        Table::System
        | Table::Buckets
        | Table::Owners
        | Table::Current
        | Table::Versions
        | Table::Uploads
        | Table::Parts
        | Table::Usage
        | Table::Settings => {
            column.add_compact_on_deletion_collector_factory(16384, 8192, 0.75);
        }
    }
    column
}

fn records(options: &RocksOptions, cache: &Cache) -> Options {
    let mut column = Options::default();
    column.set_block_based_table_factory(&blocks(cache));
    column.set_compression_type(DBCompressionType::Lz4);
    column.set_write_buffer_size(options.write_buffer_bytes / 2);
    column.set_max_write_buffer_number(4);
    // A small arena block: most tables hold next to nothing, and there are fifteen.
    column.set_arena_block_size(64 * KIB);
    // Most conditions ask for keys that are absent; the filter spares them the search of the memtable.
    column.set_memtable_whole_key_filtering(true);
    column.set_memtable_prefix_bloom_ratio(0.01);
    column.set_target_file_size_base(32 * MIB as u64);
    column.set_max_bytes_for_level_base(128 * MIB as u64);
    column
}

fn blocks(cache: &Cache) -> BlockBasedOptions {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(8 * KIB);
    blocks.set_format_version(6);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_optimize_filters_for_memory(true);
    // Inside the cache, so that memory is bounded however many keys there are; partitioned, so that a large
    // table's filter is not loaded whole for one key.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_metadata_block_size(4 * KIB);
    blocks
}

//! How the store of named objects in memory behaves, and how it is told to fail.

use super::PartsFault;

/// What a store does with the object that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It stays, as an older version.
    Versioned,
    /// It gives way.
    InPlace,
}

/// The steps that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// [`super::NativeStore::stage`].
    Stage,
    /// [`super::NativeStore::publish`].
    Publish,
    /// [`super::NativeStore::find`].
    Find,
    /// [`super::NativeStore::discard`].
    Discard,
    /// [`super::NativeStore::create_upload`].
    CreateUpload,
    /// [`super::NativeStore::put_part`].
    PutPart,
    /// [`super::NativeStore::set_tags`].
    SetTags,
    /// [`super::NativeStore::mark_deleted`].
    MarkDeleted,
    /// [`super::DataBackend::get`].
    Get,
    /// [`super::DataBackend::delete`].
    Delete,
}

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeFault {
    /// Nothing happens, and an error says so.
    Before,
    /// It happens, and is reported as failed: the reply was lost.
    LostReply,
    /// It never answers, and nothing happens.
    Hang,
    /// It happens, and never answers.
    HangAfter,
    /// It works once [`super::MemoryNative::go_on`] says so.
    Wait,
    /// Parts are refused.
    Refuse(PartsFault),
    /// What was staged is gone.
    Forget,
    /// It happens without the last byte, and is reported as done.
    Short,
    /// It happens, and is reported as not what was sent.
    Misshapen,
}

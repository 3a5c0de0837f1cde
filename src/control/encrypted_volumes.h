// SPDX-License-Identifier: Apache-2.0
// EncryptedVolumes: OPI's encryption service: a volume of its own name, whose bytes are AES-XTS
// ciphertext in the volume that it refers to. Control reactor only.
//
// Keys. They come in with Create and go out nowhere: the resource in the model has none, so no
// answer, list or watcher can show one. The store has the key sealed (control/seal.h), in memory
// the data plane's device has it, and nobody else.
//
// The volume below is for the ciphertext alone: nothing else is made on it meanwhile. What its last
// key was is remembered by its UUID (a verifier, not the key), also when the encrypted volume is
// gone: with another key its data would be garbage, and that is refused until somebody says that it
// is meant (ForgetVolumeKey, or the volume below is deleted).
//
// A key is changed in the background (encrypted_rekey.cc): the store has both until it is done, and
// how far it is. Until then no key alone opens what is below, and none is remembered as the last.
//
// One whose key cannot be opened, or whose volume below is not there, is not built: all else goes
// on, and its condition says why. Create with the same key builds it then.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <google/protobuf/empty.pb.h>

#include "control/layers.h"
#include "services/crypto/rekey_keeper.h"
#include "services/crypto/xts_key.h"
#include "storage/middleend_encryption.pb.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

class EncryptedVolumes final : public LayerKind, public services::crypto::RekeyKeeper {
  public:
    explicit EncryptedVolumes(Context& context) : context_(context) {}

    Task<core::Result<opi::EncryptedVolume>> create(
        const opi::CreateEncryptedVolumeRequest& request);
    Task<core::Result<Empty>> remove(const opi::DeleteEncryptedVolumeRequest& request);
    Task<core::Result<opi::EncryptedVolume>> update(
        const opi::UpdateEncryptedVolumeRequest& request);
    Task<core::Result<opi::ListEncryptedVolumesResponse>> list(
        const opi::ListEncryptedVolumesRequest& request);
    Task<core::Result<opi::EncryptedVolume>> get(const opi::GetEncryptedVolumeRequest& request);
    Task<core::Result<opi::StatsEncryptedVolumeResponse>> stats(
        const opi::StatsEncryptedVolumeRequest& request);
    Task<core::Result<Empty>> forget_key(const api::ForgetVolumeKeyRequest& request);
    Task<core::Result<api::Rekey>> rekey(const api::RekeyVolumeRequest& request);
    Task<core::Result<api::Rekey>> get_rekey(const api::GetRekeyRequest& request);

    [[nodiscard]] std::vector<Layer> stored() const override;
    Task<core::Result<void>> build_stored(std::string volume) override;
    /// Not while its key is being changed, unless that cannot go on.
    [[nodiscard]] core::Result<void> check_may_delete(const std::string& volume) const override;

    // Each is one step and takes no lock: nothing else writes the record while a key is changed.
    // Errors: NotFound, and the store's.
    Task<core::Result<void>> keep_rekey(std::string volume,
                                        services::crypto::RekeyPoint point) override;
    Task<core::Result<void>> finish_rekey(std::string volume) override;

  private:
    using Encrypted = Object<opi::EncryptedVolume>;
    using Key = std::unique_ptr<const services::crypto::XtsKey>;

    /// A new one; the caller holds the locks.
    Task<core::Result<opi::EncryptedVolume>> make(Encrypted made, VolumeTarget lower, Key key);
    /// One that exists, asked for again with a key.
    Task<core::Result<opi::EncryptedVolume>> answer_again(Encrypted existing,
                                                          opi::EncryptedVolume asked,
                                                          Key key);
    /// Its key has come again: it is built if it was not, and sealed anew if it could not be
    /// opened.
    Task<core::Result<void>> revive(Encrypted object, Key key);
    core::Result<void> check_may_encrypt(const VolumeTarget& lower, const Key& key) const;
    core::Result<state::SealedSecret> seal_key(const std::string& name, const Key& key);
    core::Result<Key> open_key(const std::string& name, const state::SealedSecret& sealed);
    /// With the key that it is being given, if it is.
    Task<core::Result<node::VolumeInfo>> build(Encrypted object, Key key);
    /// What is stored of the change of its key; the next key opened.
    core::Result<node::RekeySpec> open_rekey(const Encrypted& object);
    /// Stores that `key` is the next one.
    core::Result<void> announce_rekey(Encrypted object, const Key& key, std::uint32_t mbs);
    core::Result<void> unannounce_rekey(const std::string& name);
    [[nodiscard]] api::Rekey shown_rekey(const std::string& name) const;

    Context& context_;
};

}  // namespace remora::control

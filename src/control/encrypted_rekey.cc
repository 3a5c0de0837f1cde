// SPDX-License-Identifier: Apache-2.0
// EncryptedVolumes: the change of a key, from its first announcement to its end.
#include <array>
#include <utility>

#include "control/background_rate.h"
#include "control/encrypted_volumes.h"
#include "control/remotes.h"
#include "control/seal.h"
#include "control/validate_encryption.h"
#include "core/check.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using services::crypto::RekeyPoint;

namespace {

using Resource = opi::EncryptedVolume;

/// Which key the volume below had last.
void remember(const state::Encryption& known,
              const state::KeyVerifier& verifier,
              Transaction& transaction) {
    const auto uuid = core::Uuid::parse(known.lower_uuid());
    if (uuid && !uuid->is_nil()) {
        transaction.put_key_verifier(known.lower_uuid(), verifier);
    }
}

}  // namespace

Result<node::RekeySpec> EncryptedVolumes::open_rekey(const Encrypted& object) {
    const state::Rekeying& known = object.known.encryption().rekeying();
    auto next = open_key(object.resource.name(), known.key());
    if (!next) {
        return std::unexpected(next.error());
    }
    node::RekeySpec spec;
    spec.next = std::move(*next);
    spec.point.position = known.position();
    spec.point.block_count = known.block_count();
    const auto marks = std::as_bytes(std::span(known.marks()));
    spec.point.marks.assign(marks.begin(), marks.end());
    spec.bytes_per_second = std::uint64_t{known.background_mbs()} * core::kMiB;
    return spec;
}

api::Rekey EncryptedVolumes::shown_rekey(const std::string& name) const {
    api::Rekey shown;
    shown.set_name(name);
    const auto* object = context_.model.find<Resource>(name);
    if (object == nullptr || !object->known.encryption().has_rekeying()) {
        return shown;
    }
    shown.mutable_work()->set_kind(api::BackgroundWork::KIND_REKEY);
    const std::string volume = node_volume_name<Resource>(name);
    const auto info = context_.node.find_volume(volume);
    const auto progress = context_.node.rekey_progress(volume);
    if (!info || !progress) {
        shown.set_reason("the volume is not built; its condition says why");
        return shown;
    }
    const std::uint64_t block = info->geometry.block_size;
    shown.mutable_work()->set_done_bytes(progress->done_blocks * block);
    shown.mutable_work()->set_total_bytes(progress->total_blocks * block);
    shown.set_reason(progress->trouble);
    return shown;
}

Result<void> EncryptedVolumes::announce_rekey(Encrypted object, const Key& key, std::uint32_t mbs) {
    auto sealed = seal_key(object.resource.name(), key);
    if (!sealed) {
        return std::unexpected(sealed.error());
    }
    SealKeys& keys = *context_.options.seal_keys;
    auto verifier = make_verifier(keys, key->bytes());
    // From now on neither key alone opens what is below: what is remembered of it fits none.
    std::array<std::byte, 64> nobodys;
    for (std::byte& byte : nobodys) {
        byte = static_cast<std::byte>(context_.prng.below(256));
    }
    auto none = make_verifier(keys, nobodys);
    if (!verifier || !none) {
        return std::unexpected(verifier ? none.error() : verifier.error());
    }
    state::Rekeying& rekeying = *object.known.mutable_encryption()->mutable_rekeying();
    *rekeying.mutable_key() = std::move(*sealed);
    *rekeying.mutable_verifier() = std::move(*verifier);
    rekeying.set_background_mbs(mbs);
    Transaction transaction(context_.model);
    remember(object.known.encryption(), *none, transaction);
    transaction.put(std::move(object));
    return transaction.commit();
}

/// Nothing was encrypted with it.
Result<void> EncryptedVolumes::unannounce_rekey(const std::string& name) {
    Encrypted object = *context_.model.find<Resource>(name);
    state::Encryption& known = *object.known.mutable_encryption();
    known.clear_rekeying();
    Transaction transaction(context_.model);
    remember(known, known.verifier(), transaction);
    transaction.put(std::move(object));
    return transaction.commit();
}

Task<Result<api::Rekey>> EncryptedVolumes::rekey(const api::RekeyVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    if (auto valid = check_background_rate("background_mbs", request.background_mbs()); !valid) {
        co_return std::unexpected(valid.error());
    }
    auto opened = co_await open_object<Resource>(context_, request.name(), volume_lock<Resource>);
    if (!opened) {
        co_return std::unexpected(opened.error());
    }
    const std::string name = opened->object.resource.name();
    Resource with_key;
    with_key.set_cipher(opened->object.resource.cipher());
    with_key.set_key(request.key());
    auto key = read_key(with_key);
    if (!key) {
        co_return std::unexpected(key.error());
    }
    const state::Encryption& known = opened->object.known.encryption();
    if (known.has_rekeying()) {
        if (verifies(known.rekeying().verifier(), (*key)->bytes())) {
            co_return shown_rekey(name);
        }
        co_return fail(ErrorKind::FailedPrecondition,
                       name +
                           " is being given another key already; wait until that is done "
                           "(GetRekey, remora rekey --wait)");
    }
    if (verifies(known.verifier(), (*key)->bytes())) {
        co_return shown_rekey(name);
    }
    const std::string volume = node_volume_name<Resource>(name);
    if (!context_.node.find_volume(volume)) {
        co_return fail(ErrorKind::FailedPrecondition,
                       name + " is not usable now; its condition says why");
    }
    if (auto announced = announce_rekey(opened->object, *key, request.background_mbs());
        !announced) {
        co_return std::unexpected(announced.error());
    }
    auto spec = open_rekey(*context_.model.find<Resource>(name));
    auto begun = spec ? co_await context_.node.rekey_volume(volume, std::move(*spec))
                      : Result<void>(std::unexpected(spec.error()));
    if (!begun) {
        if (auto undone = unannounce_rekey(name); !undone) {
            co_return std::unexpected(undone.error());
        }
        co_return std::unexpected(begun.error());
    }
    co_return shown_rekey(name);
}

Task<Result<api::Rekey>> EncryptedVolumes::get_rekey(const api::GetRekeyRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Resource>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    co_return shown_rekey((*found)->resource.name());
}

Result<void> EncryptedVolumes::check_may_delete(const std::string& volume) const {
    const Encrypted& object = stored_layer<Resource>(context_.model, volume);
    if (!object.known.encryption().has_rekeying()) {
        return {};
    }
    const api::Rekey state = shown_rekey(object.resource.name());
    if (!state.reason().empty()) {
        return {};
    }
    return fail(ErrorKind::FailedPrecondition,
                "the key of " + object.resource.name() +
                    " is being changed, and what is on it needs two keys until that is done; wait "
                    "for it (GetRekey, remora rekey --wait)");
}

Task<Result<void>> EncryptedVolumes::keep_rekey(std::string volume, RekeyPoint point) {
    Encrypted object = stored_layer<Resource>(context_.model, volume);
    state::Encryption& known = *object.known.mutable_encryption();
    CHECK(known.has_rekeying());
    state::Rekeying& rekeying = *known.mutable_rekeying();
    rekeying.set_position(point.position);
    rekeying.set_block_count(point.block_count);
    rekeying.set_marks(point.marks.data(), point.marks.size());
    Transaction transaction(context_.model);
    transaction.put(std::move(object));
    co_return transaction.commit();
}

Task<Result<void>> EncryptedVolumes::finish_rekey(std::string volume) {
    Encrypted object = stored_layer<Resource>(context_.model, volume);
    state::Encryption& known = *object.known.mutable_encryption();
    CHECK(known.has_rekeying());
    state::Rekeying rekeying = std::move(*known.mutable_rekeying());
    known.clear_rekeying();
    *known.mutable_key() = std::move(*rekeying.mutable_key());
    *known.mutable_verifier() = std::move(*rekeying.mutable_verifier());
    Transaction transaction(context_.model);
    remember(known, known.verifier(), transaction);
    transaction.put(std::move(object));
    co_return transaction.commit();
}

}  // namespace remora::control

// SPDX-License-Identifier: Apache-2.0
// EncryptedVolumes: what is done with keys: sealed, opened, given to the data plane, remembered,
// forgotten.
#include <utility>

#include "control/encrypted_volumes.h"
#include "control/remotes.h"
#include "control/seal.h"
#include "core/log.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using services::crypto::XtsKey;

namespace {

using Resource = opi::EncryptedVolume;

std::string spoken_name(const std::string& name) {
    return node_volume_name<Resource>(name);
}

}  // namespace

Result<state::SealedSecret> EncryptedVolumes::seal_key(const std::string& name, const Key& key) {
    if (context_.options.seal_keys == nullptr) {
        return fail(ErrorKind::FailedPrecondition,
                    "this remorad has no seal key, and keeps no key in clear");
    }
    auto sealed = seal(*context_.options.seal_keys, lock_key<Resource>(name), key->bytes());
    if (!sealed) {
        return fail("sealing the key", sealed.error());
    }
    return sealed;
}

Result<EncryptedVolumes::Key> EncryptedVolumes::open_key(const std::string& name,
                                                         const state::SealedSecret& sealed) {
    if (context_.options.seal_keys == nullptr) {
        return fail(ErrorKind::FailedPrecondition, "this remorad has no seal key");
    }
    const auto bytes = unseal(*context_.options.seal_keys, lock_key<Resource>(name), sealed);
    if (!bytes) {
        return std::unexpected(bytes.error());
    }
    return XtsKey::create(bytes->bytes());
}

Task<Result<node::VolumeInfo>> EncryptedVolumes::build(Encrypted object, Key key) {
    const std::string& lower = object.known.volume();
    const auto below = context_.node.find_volume(lower);
    if (!below) {
        co_return fail(ErrorKind::FailedPrecondition,
                       "the volume below, " + lower + ", is not there");
    }
    const state::Encryption& known = object.known.encryption();
    if (below->uuid.text() != known.lower_uuid()) {
        co_return fail(ErrorKind::FailedPrecondition,
                       "the volume below, " + lower + ", is another one now: it has the UUID " +
                           below->uuid.text() + ", and was " + known.lower_uuid());
    }
    node::EncryptedSpec spec;
    spec.name = spoken_name(object.resource.name());
    spec.uuid = core::Uuid::parse(known.uuid()).value_or(core::Uuid{});
    spec.lower = lower;
    spec.key = std::move(key);
    spec.sector_size = known.sector_size();
    if (known.has_rekeying()) {
        auto rekey = open_rekey(object);
        if (!rekey) {
            co_return fail("the key that it is being given", rekey.error());
        }
        spec.rekey = std::move(*rekey);
    }
    auto built = co_await context_.node.create_encrypted(std::move(spec));
    if (built) {
        context_.unbuilt.erase(built->name);
    }
    co_return built;
}

std::vector<Layer> EncryptedVolumes::stored() const {
    return layers_of<Resource>(context_.model);
}

Task<Result<void>> EncryptedVolumes::build_stored(std::string volume) {
    Encrypted object = stored_layer<Resource>(context_.model, volume);
    auto key = open_key(object.resource.name(), object.known.encryption().key());
    if (!key) {
        context_.unbuilt[volume] = {
            "KeyNotUnsealed", "its key cannot be unsealed: " + key.error().message +
                                  "; start remorad with the right --seal-key, or create the volume "
                                  "again with the same key and start remorad anew"};
        co_return std::unexpected(key.error());
    }
    const bool below = context_.node.find_volume(object.known.volume()).has_value();
    const auto built = co_await build(std::move(object), std::move(*key));
    if (!built) {
        context_.unbuilt[volume] = {below ? "NotBuilt" : "NoVolume", built.error().message};
        co_return std::unexpected(built.error());
    }
    co_return Result<void>();
}

Result<void> EncryptedVolumes::check_may_encrypt(const VolumeTarget& lower, const Key& key) const {
    if (lower.volume.starts_with(std::string(KindTraits<Resource>::kCollection.alias) + "/")) {
        return fail(ErrorKind::InvalidArgument, "encrypted_volume.volume_name_ref: the volume " +
                                                    lower.volume +
                                                    " is encrypted already; use it as it is");
    }
    if (auto may = check_may_take(context_, "encrypted_volume.volume_name_ref", lower); !may) {
        return may;
    }
    const auto* last = context_.model.key_verifier(lower.uuid.text());
    if (last != nullptr && !verifies(*last, key->bytes())) {
        return fail(
            ErrorKind::FailedPrecondition,
            "encrypted_volume.key: the volume " + lower.volume +
                " was encrypted with another key before, and what is on it would be "
                "garbage under this one; give that key, or, to lose what is on it, let it be "
                "forgotten first (remora forget-key, remora.v1 ForgetVolumeKey)");
    }
    return {};
}

Task<Result<Resource>> EncryptedVolumes::make(Encrypted made, VolumeTarget lower, Key key) {
    if (auto may = check_may_encrypt(lower, key); !may) {
        co_return std::unexpected(may.error());
    }
    auto sealed = seal_key(made.resource.name(), key);
    if (!sealed) {
        co_return std::unexpected(sealed.error());
    }
    auto verifier = make_verifier(*context_.options.seal_keys, key->bytes());
    auto last = make_verifier(*context_.options.seal_keys, key->bytes());
    if (!verifier || !last) {
        co_return std::unexpected(verifier ? last.error() : verifier.error());
    }
    made.known.set_volume(lower.volume);
    state::Encryption& known = *made.known.mutable_encryption();
    known.set_uuid(core::Uuid::random(context_.prng).text());
    known.set_lower_uuid(lower.uuid.text());
    known.set_sector_size(lower.geometry.block_size);
    *known.mutable_key() = std::move(*sealed);
    *known.mutable_verifier() = std::move(*verifier);
    const auto built = co_await build(made, std::move(key));
    if (!built) {
        co_return std::unexpected(built.error());
    }
    Transaction transaction(context_.model);
    transaction.put(made);
    if (!lower.uuid.is_nil()) {
        transaction.put_key_verifier(lower.uuid.text(), *last);
    }
    keep_remote_namespaces(context_, lower.remote, transaction);
    if (auto stored = transaction.commit(); !stored) {
        (void)co_await context_.node.delete_volume(built->name);
        co_return std::unexpected(stored.error());
    }
    co_return made.resource;
}

Task<Result<void>> EncryptedVolumes::revive(Encrypted object, Key key) {
    const std::string volume = spoken_name(object.resource.name());
    if (context_.node.find_volume(volume)) {
        co_return Result<void>();
    }
    // While its key is being changed it has two, and either may come.
    state::Encryption& known = *object.known.mutable_encryption();
    const bool is_next =
        known.has_rekeying() && verifies(known.rekeying().verifier(), key->bytes());
    state::SealedSecret& slot =
        is_next ? *known.mutable_rekeying()->mutable_key() : *known.mutable_key();
    if (!open_key(object.resource.name(), slot)) {
        auto sealed = seal_key(object.resource.name(), key);
        if (!sealed) {
            co_return std::unexpected(sealed.error());
        }
        slot = std::move(*sealed);
        Transaction transaction(context_.model);
        transaction.put(object);
        if (auto stored = transaction.commit(); !stored) {
            co_return stored;
        }
    }
    auto first =
        is_next ? open_key(object.resource.name(), known.key()) : Result<Key>(std::move(key));
    if (!first) {
        co_return fail("the key that it had before", first.error());
    }
    const auto built = co_await build(std::move(object), std::move(*first));
    if (!built) {
        co_return std::unexpected(built.error());
    }
    log::info("encrypted volume built with a key that came again", log::kv("name", volume));
    co_return Result<void>();
}

Task<Result<Empty>> EncryptedVolumes::forget_key(const api::ForgetVolumeKeyRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto target = resolve_volume(context_, request.volume_name_ref());
    // A volume that is not there any more is still known by its UUID.
    const auto given = core::Uuid::parse(request.volume_name_ref());
    if (!target && (!given || context_.model.key_verifier(given->text()) == nullptr)) {
        co_return std::unexpected(target.error());
    }
    const core::Uuid uuid = target ? target->uuid : *given;
    auto held = co_await context_.lock({uuid_key(uuid)});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    for (const auto& [name, object] : context_.model.table<Resource>()) {
        if (object.known.encryption().lower_uuid() == uuid.text()) {
            co_return fail(ErrorKind::FailedPrecondition,
                           "the volume " + request.volume_name_ref() + " holds the ciphertext of " +
                               spoken_name(name) + "; delete that first");
        }
    }
    if (context_.model.key_verifier(uuid.text()) == nullptr) {
        co_return Empty();
    }
    Transaction transaction(context_.model);
    transaction.erase_key_verifier(uuid.text());
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    co_return Empty();
}

}  // namespace remora::control

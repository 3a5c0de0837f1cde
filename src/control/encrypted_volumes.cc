// SPDX-License-Identifier: Apache-2.0
#include "control/encrypted_volumes.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "control/seal.h"
#include "control/validate_encryption.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using services::crypto::XtsKey;

namespace {

using Resource = opi::EncryptedVolume;

const FieldRules kRules{{},
                        {},
                        "what is on the volume was encrypted that way; make another encrypted "
                        "volume and copy it over"};

/// All that a request asks for but the key.
Resource without_key(const Resource& asked) {
    Resource out;
    out.set_name(asked.name());
    out.set_volume_name_ref(asked.volume_name_ref());
    out.set_cipher(asked.cipher());
    return out;
}

/// Or the one that it is being given.
bool is_key_of(const Object<Resource>& object, const XtsKey& key) {
    const state::Encryption& known = object.known.encryption();
    return verifies(known.verifier(), key.bytes()) ||
           (known.has_rekeying() && verifies(known.rekeying().verifier(), key.bytes()));
}

/// What of an update's mask is not about the key, which is judged apart; nothing when it is about
/// nothing else.
std::optional<google::protobuf::FieldMask> rest_of(const google::protobuf::FieldMask& mask) {
    google::protobuf::FieldMask rest;
    for (const std::string& path : mask.paths()) {
        if (path != "key") {
            rest.add_paths(path);
        }
    }
    const bool only_key = mask.paths_size() > 0 && rest.paths_size() == 0;
    return only_key ? std::nullopt : std::optional(std::move(rest));
}

bool concerns_key(const google::protobuf::FieldMask& mask) {
    return mask.paths_size() == 0 || std::ranges::any_of(mask.paths(), [](const auto& path) {
               return path == "key" || path == "*";
           });
}

}  // namespace

Task<Result<Resource>> EncryptedVolumes::answer_again(Encrypted existing, Resource asked, Key key) {
    auto answer = answer_existing(existing.resource, asked);
    if (!answer) {
        co_return answer;
    }
    if (!is_key_of(existing, *key)) {
        co_return fail(ErrorKind::AlreadyExists,
                       existing.resource.name() +
                           ": it exists already with another key; give that one, or choose "
                           "another name");
    }
    if (auto revived = co_await revive(std::move(existing), std::move(key)); !revived) {
        co_return std::unexpected(revived.error());
    }
    co_return answer;
}

Task<Result<Resource>> EncryptedVolumes::create(const opi::CreateEncryptedVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto id = choose_id("encrypted_volume_id", request.encrypted_volume_id(), context_.prng);
    if (!id) {
        co_return std::unexpected(id.error());
    }
    auto key = read_key(request.encrypted_volume());
    if (!key) {
        co_return std::unexpected(key.error());
    }
    Encrypted made{without_key(request.encrypted_volume()), {}};
    made.resource.set_name("volumes/" + *id);
    const std::string name = made.resource.name();
    const auto target = resolve_volume(context_, made.resource.volume_name_ref());
    if (!target && context_.model.find<Resource>(name) == nullptr) {
        co_return std::unexpected(target.error());
    }
    std::vector<std::string> keys{lock_key<Resource>(name)};
    if (target) {
        keys.insert(keys.end(), {target->lock, uuid_key(target->uuid)});
    }
    auto held = co_await context_.lock(std::move(keys));
    if (!held) {
        co_return std::unexpected(held.error());
    }
    if (const auto* existing = context_.model.find<Resource>(name)) {
        if (target && existing->known.volume() == target->volume) {
            made.resource.set_volume_name_ref(existing->resource.volume_name_ref());
        }
        co_return co_await answer_again(*existing, made.resource, std::move(*key));
    }
    auto again = resolve_volume(context_, made.resource.volume_name_ref());
    if (!target || !again || again->volume != target->volume) {
        co_return fail(ErrorKind::NotFound,
                       "the volume " + made.resource.volume_name_ref() + " was deleted meanwhile");
    }
    co_return co_await make(std::move(made), std::move(*again), std::move(*key));
}

Task<Result<Empty>> EncryptedVolumes::remove(const opi::DeleteEncryptedVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    co_return co_await remove_layer<Resource>(context_, *this, request.name(),
                                              request.allow_missing());
}

Task<Result<Resource>> EncryptedVolumes::update(const opi::UpdateEncryptedVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    auto opened = co_await open_object<Resource>(context_, request.encrypted_volume().name(),
                                                 volume_lock<Resource>);
    if (!opened) {
        co_return std::unexpected(opened.error());
    }
    Encrypted updated = opened->object;
    Resource patch = without_key(request.encrypted_volume());
    const auto target = resolve_volume(context_, patch.volume_name_ref());
    if (target && target->volume == updated.known.volume()) {
        patch.set_volume_name_ref(updated.resource.volume_name_ref());  // another spelling
    }
    if (const auto rest = rest_of(request.update_mask())) {
        if (auto applied = apply_update(updated.resource, patch, *rest, kRules); !applied) {
            co_return std::unexpected(applied.error());
        }
    }
    if (concerns_key(request.update_mask())) {
        auto key = read_key(request.encrypted_volume());
        if (!key) {
            co_return std::unexpected(key.error());
        }
        if (!is_key_of(updated, **key)) {
            co_return fail(
                ErrorKind::FailedPrecondition,
                "key cannot be changed here: another one than the volume's would make "
                "garbage of what is on it; RekeyVolume (remora rekey) encrypts that anew");
        }
        if (auto revived = co_await revive(updated, std::move(*key)); !revived) {
            co_return std::unexpected(revived.error());
        }
    }
    co_return updated.resource;
}

Task<Result<opi::ListEncryptedVolumesResponse>> EncryptedVolumes::list(
    const opi::ListEncryptedVolumesRequest& request) {
    // The parent of this list means nothing; clients send "todo" or the collection's word.
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    opi::ListEncryptedVolumesResponse response;
    auto next = list_page<Resource>(
        context_.model, request.page_size(), request.page_token(), "",
        [&](const Encrypted& object) { *response.add_encrypted_volumes() = object.resource; });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    response.set_next_page_token(*next);
    co_return response;
}

Task<Result<Resource>> EncryptedVolumes::get(const opi::GetEncryptedVolumeRequest& request) {
    co_return get_resource<Resource>(context_.model, request);
}

Task<Result<opi::StatsEncryptedVolumeResponse>> EncryptedVolumes::stats(
    const opi::StatsEncryptedVolumeRequest& request) {
    co_return co_await layer_stats<Resource, opi::StatsEncryptedVolumeResponse>(context_, request);
}

}  // namespace remora::control

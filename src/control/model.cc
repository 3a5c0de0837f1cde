// SPDX-License-Identifier: Apache-2.0
#include "control/model.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

template <typename M>
Result<void> Model::load_one(const StoredObject& stored) {
    Object<M> object;
    if (!object.known.ParseFromString(stored.body) ||
        !object.resource.ParseFromString(object.known.resource())) {
        return fail(ErrorKind::DataLoss, "the stored " + std::string(KindTraits<M>::kNoun) + " " +
                                             stored.name + " cannot be read");
    }
    object.known.clear_resource();
    set(stored.name, std::move(object));
    return {};
}

Result<void> Model::load_key_verifier(const StoredObject& stored) {
    if (!key_verifiers_[stored.name].ParseFromString(stored.body)) {
        return fail(ErrorKind::DataLoss,
                    "what is stored of the key of volume " + stored.name + " cannot be read");
    }
    return {};
}

Result<void> Model::load() {
    const auto objects = store_.load();
    if (!objects) {
        return std::unexpected(objects.error());
    }
    for (const StoredObject& stored : *objects) {
        Result<void> loaded;
        switch (stored.kind) {
            case Kind::MallocVolume:
                loaded = load_one<opi::MallocVolume>(stored);
                break;
            case Kind::NullVolume:
                loaded = load_one<opi::NullVolume>(stored);
                break;
            case Kind::AioVolume:
                loaded = load_one<opi::AioVolume>(stored);
                break;
            case Kind::NvmeSubsystem:
                loaded = load_one<opi::NvmeSubsystem>(stored);
                break;
            case Kind::NvmeController:
                loaded = load_one<opi::NvmeController>(stored);
                break;
            case Kind::NvmeNamespace:
                loaded = load_one<opi::NvmeNamespace>(stored);
                break;
            case Kind::NvmeRemoteController:
                loaded = load_one<opi::NvmeRemoteController>(stored);
                break;
            case Kind::NvmePath:
                loaded = load_one<opi::NvmePath>(stored);
                break;
            case Kind::VirtioBlk:
                loaded = load_one<opi::VirtioBlk>(stored);
                break;
            case Kind::QosVolume:
                loaded = load_one<opi::QosVolume>(stored);
                break;
            case Kind::Attachment:
                loaded = load_one<api::Attachment>(stored);
                break;
            case Kind::DiscoveryReferral:
                loaded = load_one<api::DiscoveryReferral>(stored);
                break;
            case Kind::EncryptedVolume:
                loaded = load_one<opi::EncryptedVolume>(stored);
                break;
            case Kind::RaidVolume:
                loaded = load_one<api::RaidVolume>(stored);
                break;
            case Kind::IntegrityVolume:
                loaded = load_one<api::IntegrityVolume>(stored);
                break;
            case Kind::FaultInjection:
                loaded = load_one<api::FaultInjection>(stored);
                break;
            case Kind::Capacity:
                loaded = load_one<api::Capacity>(stored);
                break;
            case Kind::KeyVerifier:
                loaded = load_key_verifier(stored);
                break;
            case Kind::Identity:
                break;
        }
        if (!loaded) {
            return loaded;
        }
    }
    return {};
}

void Transaction::put_key_verifier(const std::string& uuid, const state::KeyVerifier& verifier) {
    changes_.push_back(
        {Change::Action::Put, {Kind::KeyVerifier, uuid, verifier.SerializeAsString()}});
    effects_.emplace_back(
        [&model = model_, uuid, verifier] { model.key_verifiers_[uuid] = verifier; });
}

void Transaction::erase_key_verifier(const std::string& uuid) {
    changes_.push_back({Change::Action::Erase, {Kind::KeyVerifier, uuid, {}}});
    effects_.emplace_back([&model = model_, uuid] { model.key_verifiers_.erase(uuid); });
}

Result<void> Transaction::commit() {
    if (auto stored = model_.store_.commit(changes_); !stored) {
        return stored;
    }
    for (const auto& effect : effects_) {
        effect();
    }
    changes_.clear();
    effects_.clear();
    return {};
}

}  // namespace remora::control

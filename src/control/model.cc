// SPDX-License-Identifier: Apache-2.0
#include "control/model.h"

#include <google/protobuf/util/message_differencer.h>

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

bool same_message(const google::protobuf::Message& one, const google::protobuf::Message& other) {
    return google::protobuf::util::MessageDifferencer::Equals(one, other);
}

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
    const auto load = [this](const StoredObject& stored) -> Result<void> {
        switch (stored.kind) {
            case Kind::MallocVolume:
                return load_one<opi::MallocVolume>(stored);
            case Kind::NullVolume:
                return load_one<opi::NullVolume>(stored);
            case Kind::AioVolume:
                return load_one<opi::AioVolume>(stored);
            case Kind::NvmeSubsystem:
                return load_one<opi::NvmeSubsystem>(stored);
            case Kind::NvmeController:
                return load_one<opi::NvmeController>(stored);
            case Kind::NvmeNamespace:
                return load_one<opi::NvmeNamespace>(stored);
            case Kind::NvmeRemoteController:
                return load_one<opi::NvmeRemoteController>(stored);
            case Kind::NvmePath:
                return load_one<opi::NvmePath>(stored);
            case Kind::VirtioBlk:
                return load_one<opi::VirtioBlk>(stored);
            case Kind::QosVolume:
                return load_one<opi::QosVolume>(stored);
            case Kind::Attachment:
                return load_one<api::Attachment>(stored);
            case Kind::DiscoveryReferral:
                return load_one<api::DiscoveryReferral>(stored);
            case Kind::EncryptedVolume:
                return load_one<opi::EncryptedVolume>(stored);
            case Kind::RaidVolume:
                return load_one<api::RaidVolume>(stored);
            case Kind::IntegrityVolume:
                return load_one<api::IntegrityVolume>(stored);
            case Kind::FaultInjection:
                return load_one<api::FaultInjection>(stored);
            case Kind::Capacity:
                return load_one<api::Capacity>(stored);
            case Kind::KeyVerifier:
                return load_key_verifier(stored);
            case Kind::Identity:
                break;
        }
        return {};
    };
    for (const StoredObject& stored : *objects) {
        if (auto loaded = load(stored); !loaded) {
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

// SPDX-License-Identifier: Apache-2.0
// Model: the desired state in memory, one table a kind, always what the store holds.
//
// Nothing changes a table but Transaction::commit(), which stores first: so what a reader sees is
// durable. Owned by the control plane; control reactor only.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "control/names.h"
#include "control/store.h"
#include "core/result.h"
#include "remora/state/v1/state.pb.h"
#include "remora/v1/fault.pb.h"
#include "remora/v1/integrity.pb.h"
#include "remora/v1/qos.pb.h"
#include "remora/v1/raid.pb.h"
#include "remora/v1/remora.pb.h"
#include "storage/backend_aio.pb.h"
#include "storage/backend_malloc.pb.h"
#include "storage/backend_null.pb.h"
#include "storage/backend_nvme.pb.h"
#include "storage/frontend_nvme.pb.h"
#include "storage/frontend_virtio_blk.pb.h"
#include "storage/middleend_encryption.pb.h"
#include "storage/middleend_qos_volume.pb.h"

namespace remora::control {

namespace opi = opi_api::storage::v1;
namespace api = ::remora::v1;
namespace state = ::remora::state::v1;

/// One object: the resource as clients see it and what only we know. `known.resource` is unused.
template <typename M>
struct Object {
    M resource;
    state::Record known;
    /// Which of that name it is, since this daemon began: the table gives it.
    std::uint64_t incarnation = 0;
};

template <typename M>
using Table = std::map<std::string, Object<M>, NaturalLess>;

/// What differs between kinds, in one place.
template <typename M>
struct KindTraits;

#define REMORA_KIND(message, kind_value, noun_text, canonical_text, alias_text) \
    template <>                                                                 \
    struct KindTraits<message> {                                                \
        static constexpr Kind kKind = Kind::kind_value;                         \
        static constexpr std::string_view kNoun = noun_text;                    \
        static constexpr Collection kCollection{canonical_text, alias_text};    \
    }
REMORA_KIND(opi::MallocVolume, MallocVolume, "malloc volume", "volumes", "mallocVolumes");
REMORA_KIND(opi::NullVolume, NullVolume, "null volume", "volumes", "nullVolumes");
REMORA_KIND(opi::AioVolume, AioVolume, "aio volume", "volumes", "aioVolumes");
REMORA_KIND(opi::NvmeSubsystem, NvmeSubsystem, "NVMe subsystem", "nvmeSubsystems", "");
REMORA_KIND(opi::NvmeController, NvmeController, "NVMe controller", "nvmeControllers", "");
REMORA_KIND(opi::NvmeNamespace, NvmeNamespace, "NVMe namespace", "nvmeNamespaces", "");
REMORA_KIND(opi::NvmeRemoteController,
            NvmeRemoteController,
            "remote controller",
            "nvmeRemoteControllers",
            "");
REMORA_KIND(opi::NvmePath, NvmePath, "path", "nvmePaths", "");
REMORA_KIND(opi::VirtioBlk, VirtioBlk, "virtio-blk device", "volumes", "virtioBlks");
REMORA_KIND(api::Attachment, Attachment, "attachment", "attachments", "");
REMORA_KIND(
    api::DiscoveryReferral, DiscoveryReferral, "discovery referral", "discoveryReferrals", "");
REMORA_KIND(opi::QosVolume, QosVolume, "QoS volume", "volumes", "qosVolumes");
REMORA_KIND(
    opi::EncryptedVolume, EncryptedVolume, "encrypted volume", "volumes", "encryptedVolumes");
REMORA_KIND(api::RaidVolume, RaidVolume, "RAID volume", "volumes", "raidVolumes");
REMORA_KIND(
    api::IntegrityVolume, IntegrityVolume, "integrity volume", "volumes", "integrityVolumes");
REMORA_KIND(api::FaultInjection, FaultInjection, "fault injection", "faultInjections", "");
REMORA_KIND(api::Capacity, Capacity, "capacity", "capacities", "");
#undef REMORA_KIND

/// Whether clients see no difference.
bool same_message(const google::protobuf::Message& one, const google::protobuf::Message& other);

/// Told of each change that clients can see or that makes or removes, once it is durable, in the
/// order of the changes. What else only we know may change hundreds of times a second (how far a
/// key's change is), and a client that watches would fall behind for nothing.
class ModelObserver {
  public:
    virtual void on_put(Kind kind, const google::protobuf::Message& resource, bool is_new) = 0;
    virtual void on_erased(Kind kind, const google::protobuf::Message& resource) = 0;

  protected:
    ~ModelObserver() = default;
};

class Model {
  public:
    explicit Model(Store& store) : store_(store) {}
    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

    /// One at a time; null: nobody. It outlives its time here.
    void set_observer(ModelObserver* observer) { observer_ = observer; }

    /// Calls `visit(object)` for every object of every kind.
    template <typename F>
    void for_each(F visit) const {
        std::apply(
            [&visit](const auto&... table) {
                const auto each = [&visit](const auto& one) {
                    for (const auto& [name, object] : one) {
                        visit(object);
                    }
                };
                (each(table), ...);
            },
            tables_);
    }

    /// Fills the tables from the store. Once, at start. Errors: DataLoss.
    core::Result<void> load();

    template <typename M>
    [[nodiscard]] const Table<M>& table() const {
        return std::get<Table<M>>(tables_);
    }
    /// Null when there is none.
    template <typename M>
    [[nodiscard]] const Object<M>* find(const std::string& name) const {
        const auto found = table<M>().find(name);
        return found == table<M>().end() ? nullptr : &found->second;
    }

    /// Of the last key that the volume of this UUID was encrypted with; null: none is known.
    [[nodiscard]] const state::KeyVerifier* key_verifier(const std::string& uuid) const {
        const auto found = key_verifiers_.find(uuid);
        return found == key_verifiers_.end() ? nullptr : &found->second;
    }

    /// The object as it was seen before a wait: null when it has gone meanwhile, also when there is
    /// another of its name by now. A deletion that waited must not take that one.
    template <typename M>
    [[nodiscard]] const Object<M>* find_same(const Object<M>& seen) const {
        const Object<M>* found = find<M>(seen.resource.name());
        return found != nullptr && found->incarnation == seen.incarnation ? found : nullptr;
    }

  private:
    friend class Transaction;
    template <typename M>
    core::Result<void> load_one(const StoredObject& stored);
    core::Result<void> load_key_verifier(const StoredObject& stored);
    template <typename M>
    void set(const std::string& name, Object<M> object) {
        Object<M>& place = std::get<Table<M>>(tables_)[name];
        const bool is_new = place.incarnation == 0;
        object.incarnation = is_new ? ++made_ : place.incarnation;
        const bool tells =
            observer_ != nullptr && (is_new || place.known.intent() != object.known.intent() ||
                                     !same_message(place.resource, object.resource));
        place = std::move(object);
        if (tells) {
            observer_->on_put(KindTraits<M>::kKind, place.resource, is_new);
        }
    }
    template <typename M>
    void erase(const std::string& name) {
        auto& table = std::get<Table<M>>(tables_);
        const auto found = table.find(name);
        if (found == table.end()) {
            return;
        }
        const M resource = std::move(found->second.resource);
        table.erase(found);
        if (observer_ != nullptr) {
            observer_->on_erased(KindTraits<M>::kKind, resource);
        }
    }

    Store& store_;
    ModelObserver* observer_ = nullptr;
    std::uint64_t made_ = 0;
    std::tuple<Table<opi::MallocVolume>,
               Table<opi::NullVolume>,
               Table<opi::AioVolume>,
               Table<opi::NvmeSubsystem>,
               Table<opi::NvmeController>,
               Table<opi::NvmeNamespace>,
               Table<opi::NvmeRemoteController>,
               Table<opi::NvmePath>,
               Table<opi::VirtioBlk>,
               Table<api::Attachment>,
               Table<api::DiscoveryReferral>,
               Table<opi::QosVolume>,
               Table<opi::EncryptedVolume>,
               Table<api::RaidVolume>,
               Table<api::IntegrityVolume>,
               Table<api::FaultInjection>,
               Table<api::Capacity>>
        tables_;
    std::map<std::string, state::KeyVerifier> key_verifiers_;  // by the volume's UUID
};

/// Changes that become durable and visible together.
class Transaction {
  public:
    explicit Transaction(Model& model) : model_(model) {}

    template <typename M>
    void put(Object<M> object) {
        state::Record record = object.known;
        record.set_resource(object.resource.SerializeAsString());
        changes_.push_back(
            {Change::Action::Put,
             {KindTraits<M>::kKind, object.resource.name(), record.SerializeAsString()}});
        effects_.emplace_back([&model = model_, object = std::move(object)] {
            model.set(object.resource.name(), object);
        });
    }
    template <typename M>
    void erase(const std::string& name) {
        changes_.push_back({Change::Action::Erase, {KindTraits<M>::kKind, name, {}}});
        effects_.emplace_back([&model = model_, name] { model.erase<M>(name); });
    }

    void put_key_verifier(const std::string& uuid, const state::KeyVerifier& verifier);
    void erase_key_verifier(const std::string& uuid);

    /// Stores, then changes the tables; on an error nothing has changed.
    core::Result<void> commit();

  private:
    Model& model_;
    std::vector<Change> changes_;
    std::vector<std::function<void()>> effects_;
};

}  // namespace remora::control

// SPDX-License-Identifier: Apache-2.0
#include "control/volumes.h"

#include <type_traits>
#include <utility>

#include "control/references.h"
#include "control/validate_volume.h"
#include "core/log.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

// Building a volume in the data plane: the only part that differs between the three kinds.

enum class Build : std::uint8_t {
    First,  ///< For a Create call: what the volume stands on may be made.
    Again,  ///< It existed before (a restart, a deletion that failed): it must still be there.
};

Task<Result<node::VolumeInfo>> build(node::Node& node,
                                     const opi::MallocVolume& volume,
                                     Build /*which*/) {
    co_return co_await node.create_ram({node_volume_name<opi::MallocVolume>(volume.name()),
                                        *core::Uuid::parse(volume.uuid()),
                                        static_cast<std::uint32_t>(volume.block_size()),
                                        static_cast<std::uint64_t>(volume.blocks_count())});
}

Task<Result<node::VolumeInfo>> build(node::Node& node,
                                     const opi::NullVolume& volume,
                                     Build /*which*/) {
    co_return co_await node.create_null({node_volume_name<opi::NullVolume>(volume.name()),
                                         *core::Uuid::parse(volume.uuid()),
                                         static_cast<std::uint32_t>(volume.block_size()),
                                         static_cast<std::uint64_t>(volume.blocks_count())});
}

Task<Result<node::VolumeInfo>> build(node::Node& node, const opi::AioVolume& volume, Build which) {
    const auto bytes = static_cast<std::uint64_t>(volume.blocks_count() * volume.block_size());
    co_return co_await node.create_file({node_volume_name<opi::AioVolume>(volume.name()),
                                         *core::Uuid::parse(volume.uuid()), volume.filename(),
                                         static_cast<std::uint32_t>(volume.block_size()), bytes,
                                         which == Build::First && bytes > 0});
}

/// Two volumes in one file would overwrite each other.
Result<void> check_alone(const Model& model, const opi::AioVolume& volume) {
    for (const auto& [name, other] : model.table<opi::AioVolume>()) {
        if (name != volume.name() && other.resource.filename() == volume.filename()) {
            return fail(ErrorKind::AlreadyExists,
                        "filename: " + volume.filename() + " is used by the aio volume " + name);
        }
    }
    return {};
}
template <typename M>
Result<void> check_alone(const Model& /*model*/, const M& /*volume*/) {
    return {};
}

std::string exclusive_key(const opi::AioVolume& volume) {
    return "file " + volume.filename();
}
template <typename M>
std::string exclusive_key(const M& volume) {
    return "volume " + volume.uuid();
}

template <typename M>
void find_uuid(const Model& model, const std::string& uuid, std::vector<std::string>& holders) {
    for (const auto& [name, object] : model.table<M>()) {
        if (object.resource.uuid() == uuid) {
            holders.push_back(node_volume_name<M>(name));
        }
    }
}

/// An identity belongs to one volume.
Result<void> check_uuid_free(const Model& model, const std::string& uuid) {
    std::vector<std::string> holders;
    find_uuid<opi::MallocVolume>(model, uuid, holders);
    find_uuid<opi::NullVolume>(model, uuid, holders);
    find_uuid<opi::AioVolume>(model, uuid, holders);
    if (holders.empty()) {
        return {};
    }
    return fail(ErrorKind::AlreadyExists,
                "uuid: " + uuid + " is the volume " + join_names(holders) + " already");
}

const FieldRules kVolumeRules{{"blocks_count"},
                              {},
                              "a volume keeps its block size, identity and place; delete it and "
                              "create another"};

/// Whether the volume's room is something that outlives the daemon, so that a crash amid growing
/// has to be found out about.
template <typename M>
constexpr bool kKeepsRoom = std::is_same_v<M, opi::AioVolume>;

}  // namespace

template <typename M>
Task<Result<M>> Volumes::create_named(M volume, M asked) {
    auto held = co_await context_.lock(
        {lock_key<M>(volume.name()), "volume " + volume.uuid(), exclusive_key(volume)});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    if (const Object<M>* existing = context_.model.find<M>(volume.name())) {
        co_return answer_existing(existing->resource, asked);
    }
    if (auto free = check_uuid_free(context_.model, volume.uuid()); !free) {
        co_return std::unexpected(free.error());
    }
    if (auto alone = check_alone(context_.model, volume); !alone) {
        co_return std::unexpected(alone.error());
    }
    const auto built = co_await build(context_.node, volume, Build::First);
    if (!built) {
        co_return std::unexpected(built.error());
    }
    volume.set_block_size(built->geometry.block_size);
    volume.set_blocks_count(static_cast<std::int64_t>(built->geometry.block_count));
    Transaction transaction(context_.model);
    transaction.put(Object<M>{volume, {}});
    if (auto stored = transaction.commit(); !stored) {
        (void)co_await context_.node.delete_volume(built->name);
        co_return std::unexpected(stored.error());
    }
    co_return volume;
}

template <typename M>
Task<Result<M>> Volumes::create(const M& wanted, const std::string& id) {
    if (auto valid = validate(wanted); !valid) {
        co_return std::unexpected(valid.error());
    }
    M volume = wanted;
    volume.set_name(std::string(KindTraits<M>::kCollection.canonical) + "/" + id);
    const auto uuid = core::Uuid::parse(volume.uuid());
    M asked = volume;
    if (uuid) {
        asked.set_uuid(uuid->text());  // One spelling, to be compared.
    }
    volume.set_uuid(uuid ? uuid->text() : core::Uuid::random(context_.prng).text());
    if (volume.block_size() == 0) {
        volume.set_block_size(512);
    }
    co_return co_await create_named(std::move(volume), std::move(asked));
}

template <typename M>
Task<Result<Empty>> Volumes::remove(const std::string& raw_name, bool allow_missing) {
    auto found = lookup<M>(context_.model, raw_name);
    if (!found && found.error().kind == ErrorKind::NotFound && allow_missing) {
        co_return Empty();
    }
    if (!found) {
        co_return std::unexpected(found.error());
    }
    const std::string name = (*found)->resource.name();
    auto held = co_await context_.lock({lock_key<M>(name)});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    if (context_.model.find<M>(name) == nullptr) {
        if (allow_missing) {
            co_return Empty();
        }
        co_return fail(ErrorKind::NotFound, name + " was deleted meanwhile");
    }
    const std::string volume = node_volume_name<M>(name);
    if (const auto users = in_the_way_of_deletion(context_.model, volume); !users.empty()) {
        co_return fail(ErrorKind::FailedPrecondition,
                       "the " + std::string(KindTraits<M>::kNoun) + " " + name + " is used by " +
                           join_names(users) + "; delete that first");
    }
    const auto removed = co_await context_.node.delete_volume(volume);
    if (!removed && removed.error().kind != ErrorKind::NotFound) {
        co_return std::unexpected(removed.error());
    }
    // What it was is kept until the deletion is durable: a failed commit puts it back.
    const M before = context_.model.find<M>(name)->resource;
    Transaction transaction(context_.model);
    transaction.erase<M>(name);
    if (context_.model.key_verifier(before.uuid()) != nullptr) {
        transaction.erase_key_verifier(before.uuid());
    }
    if (auto stored = transaction.commit(); !stored) {
        (void)co_await build(context_.node, before, Build::Again);
        co_return std::unexpected(stored.error());
    }
    co_return Empty();
}

template <typename M, typename Request>
Task<Result<M>> Volumes::update(const Request& request, const M& patch) {
    const auto found = lookup<M>(context_.model, patch.name());
    if (!found && found.error().kind == ErrorKind::NotFound && request.allow_missing()) {
        const std::string last(last_segment(patch.name()));
        const Collection& names = KindTraits<M>::kCollection;
        if (canonical_name(names, patch.name()) != std::string(names.canonical) + "/" + last) {
            co_return std::unexpected(found.error());  // No volume of this kind is called so.
        }
        const auto id = choose_id("name", last, context_.prng);
        if (!id) {
            co_return std::unexpected(id.error());
        }
        co_return co_await create(patch, *id);
    }
    if (!found) {
        co_return std::unexpected(found.error());
    }
    const std::string name = (*found)->resource.name();
    auto held = co_await context_.lock({lock_key<M>(name)});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const Object<M>* seen = context_.model.find<M>(name);
    if (seen == nullptr) {
        co_return fail(ErrorKind::NotFound, name + " was deleted meanwhile");
    }
    Object<M> updated = *seen;
    if (auto applied = apply_update(updated.resource, patch, request.update_mask(), kVolumeRules);
        !applied) {
        co_return std::unexpected(applied.error());
    }
    if (updated.resource.blocks_count() == 0) {
        updated.resource.set_blocks_count(seen->resource.blocks_count());  // says nothing
    }
    if (auto valid = validate(updated.resource); !valid) {
        co_return std::unexpected(valid.error());
    }
    co_return co_await grow(std::move(updated));
}

/// `wanted` is the volume as it shall be; only its size may differ from what it is.
template <typename M>
Task<Result<M>> Volumes::grow(Object<M> wanted) {
    const auto blocks = static_cast<std::uint64_t>(wanted.resource.blocks_count());
    const Object<M> before = *context_.model.find<M>(wanted.resource.name());
    if (before.resource.blocks_count() == wanted.resource.blocks_count()) {
        co_return wanted.resource;
    }
    // Refused before it is announced, because what is announced stands.
    if (wanted.resource.blocks_count() < before.resource.blocks_count()) {
        co_return fail(ErrorKind::FailedPrecondition,
                       "blocks_count: " + wanted.resource.name() + " has " +
                           std::to_string(before.resource.blocks_count()) +
                           " blocks and does not shrink");
    }
    // Room that outlives us is announced first: a restart then knows why it has another size.
    if (kKeepsRoom<M>) {
        Object<M> announced = before;
        announced.known.set_growing_to_blocks(blocks);
        Transaction first(context_.model);
        first.put(announced);
        if (auto stored = first.commit(); !stored) {
            co_return std::unexpected(stored.error());
        }
    }
    const auto grown =
        co_await context_.node.grow_volume(node_volume_name<M>(wanted.resource.name()), blocks);
    if (!grown) {
        // What was announced stands: a growth that failed may have left either size.
        co_return std::unexpected(grown.error());
    }
    wanted.known.set_growing_to_blocks(0);
    Transaction transaction(context_.model);
    transaction.put(wanted);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());  // asked again it finds the volume grown
    }
    co_return wanted.resource;
}

/// A volume whose growing was cut short has the old size or the new one; it is stored which.
template <typename M>
Result<void> Volumes::settle_growth(Object<M> object, const node::VolumeInfo& built) {
    const std::uint64_t has = built.geometry.block_count;
    if (has != static_cast<std::uint64_t>(object.resource.blocks_count()) &&
        has != object.known.growing_to_blocks()) {
        return fail(ErrorKind::DataLoss,
                    "it has " + std::to_string(has) + " blocks and not " +
                        std::to_string(object.resource.blocks_count()) + ", nor the " +
                        std::to_string(object.known.growing_to_blocks()) +
                        " that it was being given: bring the right file back and restart");
    }
    object.resource.set_blocks_count(static_cast<std::int64_t>(has));
    object.known.set_growing_to_blocks(0);
    Transaction transaction(context_.model);
    transaction.put(object);
    return transaction.commit();
}

template <typename M>
Task<Result<void>> Volumes::rebuild_one(const Object<M>& object) {
    M volume = object.resource;
    const bool growing = object.known.growing_to_blocks() != 0;
    if (growing) {
        volume.set_blocks_count(0);  // whatever it has
    }
    const auto built = co_await build(context_.node, volume, Build::Again);
    if (!built) {
        co_return std::unexpected(built.error());
    }
    if (growing) {
        if (auto settled = settle_growth(object, *built); !settled) {
            (void)co_await context_.node.delete_volume(built->name);
            co_return settled;
        }
    }
    co_return Result<void>();
}

template <typename M>
Task<Result<opi::VolumeStats>> Volumes::stats(const std::string& raw_name) {
    const auto found = lookup<M>(context_.model, raw_name);
    if (!found) {
        co_return std::unexpected(found.error());
    }
    const auto counted =
        co_await context_.node.volume_stats(node_volume_name<M>((*found)->resource.name()));
    if (!counted) {
        co_return std::unexpected(counted.error());
    }
    co_return to_opi_stats(*counted);
}

template <typename M>
Task<> Volumes::rebuild_kind() {
    const Table<M> stored = context_.model.table<M>();  // entries may be put anew
    for (const auto& [name, object] : stored) {
        const auto built = co_await rebuild_one(object);
        if (!built) {
            log::error("volume not rebuilt", log::kv("name", name),
                       log::kv("reason", built.error().message));
        }
    }
}

Task<> Volumes::rebuild() {
    co_await rebuild_kind<opi::MallocVolume>();
    co_await rebuild_kind<opi::NullVolume>();
    co_await rebuild_kind<opi::AioVolume>();
}

// The calls of the three services: the same six for each kind.
#define REMORA_VOLUME_CALLS(kind, Message)                                                         \
    Task<Result<opi::Message>> Volumes::create_##kind(                                             \
        const opi::Create##Message##Request& request) {                                            \
        if (auto complete = check_required(request); !complete) {                                  \
            co_return std::unexpected(complete.error());                                           \
        }                                                                                          \
        const auto id = choose_id(#kind "_volume_id", request.kind##_volume_id(), context_.prng);  \
        if (!id) {                                                                                 \
            co_return std::unexpected(id.error());                                                 \
        }                                                                                          \
        co_return co_await create(request.kind##_volume(), *id);                                   \
    }                                                                                              \
    Task<Result<Empty>> Volumes::delete_##kind(const opi::Delete##Message##Request& request) {     \
        if (auto complete = check_required(request); !complete) {                                  \
            co_return std::unexpected(complete.error());                                           \
        }                                                                                          \
        co_return co_await remove<opi::Message>(request.name(), request.allow_missing());          \
    }                                                                                              \
    Task<Result<opi::Message>> Volumes::update_##kind(                                             \
        const opi::Update##Message##Request& request) {                                            \
        if (auto complete = check_required(request); !complete) {                                  \
            co_return std::unexpected(complete.error());                                           \
        }                                                                                          \
        co_return co_await update(request, request.kind##_volume());                               \
    }                                                                                              \
    Task<Result<opi::List##Message##sResponse>> Volumes::list_##kind(                              \
        const opi::List##Message##sRequest& request) {                                             \
        opi::List##Message##sResponse response;                                                    \
        auto next =                                                                                \
            list_page<opi::Message>(context_.model, request.page_size(), request.page_token(), "", \
                                    [&](const Object<opi::Message>& object) {                      \
                                        *response.add_##kind##_volumes() = object.resource;        \
                                    });                                                            \
        if (!next) {                                                                               \
            co_return std::unexpected(next.error());                                               \
        }                                                                                          \
        response.set_next_page_token(*next);                                                       \
        co_return response;                                                                        \
    }                                                                                              \
    Task<Result<opi::Message>> Volumes::get_##kind(const opi::Get##Message##Request& request) {    \
        co_return get_resource<opi::Message>(context_.model, request);                             \
    }                                                                                              \
    Task<Result<opi::Stats##Message##Response>> Volumes::stats_##kind(                             \
        const opi::Stats##Message##Request& request) {                                             \
        if (auto complete = check_required(request); !complete) {                                  \
            co_return std::unexpected(complete.error());                                           \
        }                                                                                          \
        auto counted = co_await stats<opi::Message>(request.name());                               \
        if (!counted) {                                                                            \
            co_return std::unexpected(counted.error());                                            \
        }                                                                                          \
        opi::Stats##Message##Response response;                                                    \
        *response.mutable_stats() = *counted;                                                      \
        co_return response;                                                                        \
    }                                                                                              \
    static_assert(true)

REMORA_VOLUME_CALLS(malloc, MallocVolume);
REMORA_VOLUME_CALLS(null, NullVolume);
REMORA_VOLUME_CALLS(aio, AioVolume);
#undef REMORA_VOLUME_CALLS

}  // namespace remora::control

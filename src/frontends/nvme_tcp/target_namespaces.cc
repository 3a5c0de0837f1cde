// SPDX-License-Identifier: Apache-2.0
// Target: namespaces.
#include <bit>

#include "frontends/nvme_tcp/reservations.h"
#include "frontends/nvme_tcp/shard.h"
#include "frontends/nvme_tcp/target.h"
#include "frontends/nvme_tcp/target_detail.h"
#include "reactor/call.h"

namespace remora::frontends::nvme_tcp {

using core::ErrorKind;
using core::fail;

namespace {

bool usable(const block::Geometry& geometry) {
    return std::has_single_bit(geometry.block_size) && geometry.block_size >= 512 &&
           geometry.block_size <= 4096 && geometry.block_count > 0;
}

}  // namespace

Result<std::uint32_t> Target::choose_nsid(const Subsystem& subsystem, std::uint32_t wanted) const {
    const std::uint32_t last = subsystem.identity.max_namespaces;
    if (wanted > last) {
        return fail(ErrorKind::InvalidArgument, "NSID " + std::to_string(wanted) +
                                                    " is too large: this subsystem has 1 to " +
                                                    std::to_string(last));
    }
    if (wanted != 0) {
        if (subsystem.namespaces.contains(wanted)) {
            return fail(ErrorKind::AlreadyExists, "NSID " + std::to_string(wanted) +
                                                      " of subsystem '" + subsystem.identity.nqn +
                                                      "' is taken");
        }
        return wanted;
    }
    for (std::uint32_t nsid = 1; nsid <= last; ++nsid) {
        if (!subsystem.namespaces.contains(nsid)) {
            return nsid;
        }
    }
    return fail(ErrorKind::ResourceExhausted, "subsystem '" + subsystem.identity.nqn + "' has " +
                                                  std::to_string(last) +
                                                  " namespaces already, its limit");
}

Task<Result<std::uint32_t>> Target::do_add_namespace(std::string nqn, NamespaceOptions options) {
    auto subsystem = find(nqn);
    if (!subsystem) {
        co_return std::unexpected(subsystem.error());
    }
    if (options.device == nullptr || !usable(options.device->geometry())) {
        co_return fail(ErrorKind::InvalidArgument,
                       "a namespace needs a volume with blocks of 512 to 4096 bytes");
    }
    if (!nvme::is_consistent(options.reservation)) {
        co_return fail(ErrorKind::InvalidArgument,
                       "the namespace's stored reservation contradicts itself");
    }
    auto nsid = choose_nsid(**subsystem, options.nsid);
    if (!nsid) {
        co_return std::unexpected(nsid.error());
    }
    block::Device* device = options.device;
    nvme::Namespace made{.nsid = *nsid,
                         .geometry = device->geometry(),
                         .uuid = options.uuid.is_nil() ? device->uuid() : options.uuid,
                         .nguid = options.nguid,
                         .eui64 = options.eui64,
                         .can_persist = reservations_->can_persist(),
                         .persist = options.reservation.persist,
                         .access = nvme::ReservationAccess(options.reservation),
                         .uncorrectable = std::move(options.uncorrectable)};
    const std::uint64_t incarnation = next_incarnation_++;
    reservations_->add({nqn, *nsid, incarnation}, std::move(options.reservation));
    for (std::size_t i = 0; i < shards_.size(); ++i) {
        Shard* at = shards_[i].get();
        const Result<void> added = co_await reactor::call_on(
            at->reactor(), [&, at] { return at->add_namespace(nqn, made, incarnation, *device); });
        if (!added) {
            // Nothing stays behind: the reactors before this one give it up again.
            while (i-- > 0) {
                Shard* undo = shards_[i].get();
                co_await reactor::call_on(undo->reactor(),
                                          [&, undo] { undo->detach_namespace(nqn, made.nsid); });
                co_await reactor::call_on(
                    undo->reactor(), [&, undo] { return undo->close_namespace(nqn, made.nsid); });
            }
            co_await reservations_->remove(nqn, made.nsid);
            co_return std::unexpected(added.error());
        }
    }
    (*subsystem)->namespaces.emplace(*nsid, device);
    co_await announce_namespace(nqn, *nsid);
    co_return *nsid;
}

Task<> Target::announce_namespace(const std::string& nqn, std::uint32_t nsid) {
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        co_await reactor::call_on(at->reactor(), [&, at] { at->announce_namespace(nqn, nsid); });
    }
}

Task<> Target::withdraw_namespace(const std::string& nqn, std::uint32_t nsid) {
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        co_await reactor::call_on(at->reactor(), [&, at] { at->detach_namespace(nqn, nsid); });
    }
    co_await announce_namespace(nqn, nsid);
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        co_await reactor::call_on(at->reactor(),
                                  [&, at] { return at->close_namespace(nqn, nsid); });
    }
}

Task<Result<void>> Target::do_remove_namespace(std::string nqn, std::uint32_t nsid) {
    auto subsystem = find(nqn);
    if (!subsystem) {
        co_return std::unexpected(subsystem.error());
    }
    if ((*subsystem)->namespaces.erase(nsid) == 0) {
        co_return fail(ErrorKind::NotFound,
                       "subsystem '" + nqn + "' has no namespace " + std::to_string(nsid));
    }
    co_await reservations_->remove(nqn, nsid);
    co_await withdraw_namespace(nqn, nsid);
    co_return Result<void>();
}

Task<Result<void>> Target::do_refresh_namespace(std::string nqn, std::uint32_t nsid) {
    auto subsystem = find(nqn);
    if (!subsystem) {
        co_return std::unexpected(subsystem.error());
    }
    const auto at = (*subsystem)->namespaces.find(nsid);
    if (at == (*subsystem)->namespaces.end()) {
        co_return fail(ErrorKind::NotFound,
                       "subsystem '" + nqn + "' has no namespace " + std::to_string(nsid));
    }
    const block::Geometry geometry = at->second->geometry();
    for (const auto& shard : shards_) {
        Shard* to = shard.get();
        co_await reactor::call_on(to->reactor(),
                                  [&, to] { to->set_geometry(nqn, nsid, geometry); });
    }
    co_await announce_namespace(nqn, nsid);
    co_return Result<void>();
}

}  // namespace remora::frontends::nvme_tcp

// SPDX-License-Identifier: Apache-2.0
#include "backends/nvme_tcp/discovery.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <utility>

#include "backends/nvme_tcp/admin.h"
#include "core/log.h"

namespace remora::backends::nvme_tcp {

using core::ErrorKind;
using nvme::spec::DiscoveryLogEntry;
using nvme::spec::DiscoveryLogHeader;

namespace {

/// A log that changes while it is read is read anew, so often.
constexpr int kAttempts = 5;
/// Records in a log at most; a greater count is taken for garbage.
constexpr std::uint64_t kMaxRecords = 4096;
constexpr std::size_t kRecordsPerPart = 16;
constexpr std::uint32_t kQueueSize = 16;
constexpr Nanos kCloseLinger = std::chrono::milliseconds(500);
/// Discovery subsystems that one call asks at most; further referrals are not followed.
constexpr std::size_t kMaxAsked = 8;

/// A discovery subsystem: to ask, or asked.
struct Place {
    reactor::Endpoint endpoint;
    std::string subnqn;
};

/// What one of them says.
struct Log {
    std::vector<DiscoveryEntry> subsystems;
    std::vector<Place> referrals;
};

/// The end of the connection reaches the commands that wait; there is nobody else to tell.
class NoOwner final : public Admin::Owner {
  public:
    void on_admin_down(const core::Error& /*reason*/) override {}
};

bool is_unspecified(const std::string& address) {
    return address == "0.0.0.0" || address == "::";
}

/// What an entry says, when it can be used.
bool take_entry(const DiscoveryLogEntry& record, DiscoveryEntry& out) {
    if (record.transport != nvme::spec::kTransportTcp) {
        return false;
    }
    const auto service = nvme::spec::field_text(record.service_id);
    std::uint16_t port = 0;
    const auto read = std::from_chars(service.data(), service.data() + service.size(), port);
    if (read.ec != std::errc{} || read.ptr != service.data() + service.size() || port == 0) {
        return false;
    }
    const std::string address(nvme::spec::field_text(record.address));
    const auto endpoint = reactor::Endpoint::parse(reactor::Endpoint::tcp(address, port).text());
    out.subnqn = nvme::spec::field_text(record.subnqn);
    if (!endpoint || out.subnqn.empty() || out.subnqn.size() > nvme::spec::kNqnMaxBytes) {
        return false;
    }
    out.endpoint = *endpoint;
    return true;
}

class Reading {
  public:
    Reading(Admin& admin, std::string address, Nanos deadline)
        : admin_(admin), address_(std::move(address)), deadline_(deadline) {}

    Task<Result<Log>> read_all() {
        for (int attempt = 0; attempt < kAttempts; ++attempt) {
            DiscoveryLogHeader before;
            auto done = co_await get(0, core_bytes(before));
            if (done) {
                done = check(before);
            }
            if (done) {
                done = co_await read_records(before.record_count);
            }
            DiscoveryLogHeader after;
            if (done) {
                done = co_await get(0, core_bytes(after));
            }
            if (!done) {
                co_return std::unexpected(done.error());
            }
            if (after.generation == before.generation) {
                co_return std::move(log_);
            }
        }
        co_return core::fail(ErrorKind::Unavailable,
                             "the discovery log changes faster than it can be read");
    }

  private:
    template <typename T>
    static std::span<std::byte> core_bytes(T& value) {
        return std::as_writable_bytes(std::span(&value, 1));
    }

    static Result<void> check(const DiscoveryLogHeader& header) {
        if (header.record_format != 0 || header.record_count > kMaxRecords) {
            return core::fail(ErrorKind::DataLoss,
                              "the discovery log has a format or size that makes no sense");
        }
        return {};
    }

    Task<Result<void>> read_records(std::uint64_t count) {
        log_ = {};
        std::vector<DiscoveryLogEntry> part(kRecordsPerPart);
        for (std::uint64_t first = 0; first < count; first += kRecordsPerPart) {
            const auto records =
                static_cast<std::size_t>(std::min<std::uint64_t>(kRecordsPerPart, count - first));
            const std::uint64_t offset =
                sizeof(DiscoveryLogHeader) + first * sizeof(DiscoveryLogEntry);
            const auto done =
                co_await get(offset, std::as_writable_bytes(std::span(part).first(records)));
            if (!done) {
                co_return done;
            }
            for (std::size_t i = 0; i < records; ++i) {
                take(part[i]);
            }
        }
        co_return Result<void>{};
    }

    void take(const DiscoveryLogEntry& record) {
        DiscoveryEntry entry;
        if (!take_entry(record, entry)) {
            return;
        }
        // A target that listens on every address may say so; then it is where we have found it.
        if (is_unspecified(entry.endpoint.address)) {
            entry.endpoint.address = address_;
        }
        if (record.subtype == nvme::spec::kSubtypeNvm) {
            log_.subsystems.push_back(std::move(entry));
        } else if (record.subtype == nvme::spec::kSubtypeDiscovery) {
            log_.referrals.push_back({std::move(entry.endpoint), std::move(entry.subnqn)});
        }
    }

    Task<Result<void>> get(std::uint64_t offset, std::span<std::byte> into) {
        const Nanos left = deadline_ - reactor::Reactor::current().now();
        if (left <= Nanos{0}) {
            co_return core::fail(ErrorKind::DeadlineExceeded,
                                 "the discovery log was not read in time");
        }
        admin_.set_timeout(left);
        auto done = co_await admin_.get_log(nvme::spec::LogPage::Discovery, offset, into);
        co_return done;
    }

    Admin& admin_;
    std::string address_;  // where the log is read
    Nanos deadline_;
    Log log_;
};

/// One association with one of them.
Task<Result<Log>> ask(Place place, std::string hostnqn, core::Uuid hostid, Nanos deadline) {
    reactor::Reactor& reactor = reactor::Reactor::current();
    const Nanos left = std::max(deadline - reactor.now(), Nanos{1});
    QueuePairOptions options;
    options.endpoint = std::move(place.endpoint);
    options.queue_size = kQueueSize;
    options.subnqn = std::move(place.subnqn);
    options.hostnqn = std::move(hostnqn);
    options.hostid = hostid.bytes;
    options.connect_timeout = left;
    NoOwner owner;
    Admin admin(reactor, owner, options, left);
    Result<Log> result;
    const auto started = co_await admin.start();
    if (started) {
        Reading reading(admin, options.endpoint.address, deadline);
        result = co_await reading.read_all();
    } else {
        result = std::unexpected(started.error());
    }
    (void)co_await admin.disable(true, kCloseLinger);
    (void)co_await admin.queue().close(kCloseLinger);
    co_return result;
}

}  // namespace

// NVMe over Fabrics, Discovery: a log may refer to other discovery subsystems, whose logs may refer
// to yet others, and back.
Task<Result<std::vector<DiscoveryEntry>>> discover(reactor::Endpoint endpoint,
                                                   std::string hostnqn,
                                                   core::Uuid hostid,
                                                   Nanos deadline) {
    std::vector<Place> places{{std::move(endpoint), std::string(nvme::spec::kDiscoveryNqn)}};
    std::vector<DiscoveryEntry> found;
    for (std::size_t at = 0; at < places.size(); ++at) {
        // Those that are still to be asked share the time that is left.
        const Nanos now = reactor::Reactor::current().now();
        if (at > 0 && now >= deadline) {
            break;  // each end of a connection may take a moment, too
        }
        const auto waiting = static_cast<std::int64_t>(places.size() - at);
        const Nanos share = at == 0 ? deadline : now + (deadline - now) / waiting;
        auto answer = co_await ask(places[at], hostnqn, hostid, share);
        if (!answer && at == 0) {
            co_return std::unexpected(answer.error());
        }
        if (!answer) {
            log::warn("a discovery referral leads nowhere",
                      log::kv("at", places[at].endpoint.text()),
                      log::kv("reason", answer.error().message));
            continue;
        }
        std::ranges::move(answer->subsystems, std::back_inserter(found));
        for (Place& next : answer->referrals) {
            const bool known = std::ranges::any_of(
                places, [&next](const Place& place) { return place.endpoint == next.endpoint; });
            if (!known && places.size() < kMaxAsked) {
                places.push_back(std::move(next));
            }
        }
    }
    co_return found;
}

}  // namespace remora::backends::nvme_tcp

// SPDX-License-Identifier: Apache-2.0
#include "backends/nvme_tcp/admin.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "backends/nvme_tcp/fabrics.h"
#include "core/byte_reader.h"
#include "core/log.h"
#include "nvme/spec/fabrics.h"
#include "reactor/call.h"

namespace remora::backends::nvme_tcp {

using core::ErrorKind;
using nvme::spec::AdminOpcode;
using nvme::spec::Cns;
using nvme::spec::PropertyCommand;

namespace {

nvme::spec::Command entry_of(AdminOpcode opcode) {
    nvme::spec::Command entry;
    entry.opcode = static_cast<std::uint8_t>(opcode);
    return entry;
}

nvme::spec::Command property(nvme::spec::FabricsType type, std::uint32_t offset, bool wide) {
    PropertyCommand command;
    command.fabrics_type = static_cast<std::uint8_t>(type);
    command.attributes = wide ? nvme::spec::kProperty8Bytes : nvme::spec::kProperty4Bytes;
    command.offset = offset;
    return std::bit_cast<nvme::spec::Command>(command);
}

constexpr Nanos kReadyPollMin = std::chrono::milliseconds(5);
constexpr Nanos kReadyPollMax = std::chrono::milliseconds(100);
constexpr std::uint32_t kVersion20 = 0x00020000;

// NVM Command Set Specification 1.0, Identify Controller Data Structure, NVM Command Set specific
// (CNS 06h): the fields that are used here.
struct NvmControllerLimits {
    std::uint8_t verify_size = 0;
    std::uint8_t zeroes_size = 0;  ///< WZSL, a power of two in units of CAP.MPSMIN; 0: no limit.
    std::uint8_t uncorrectable_size = 0;
    std::uint8_t ranges = 0;
    core::le32 range_blocks;  ///< DMRSL, blocks of one range; 0: not said.
    core::le64 total_blocks;  ///< DMSL, blocks of one command; 0: not said.
    std::uint8_t reserved16[4080] = {};
};
static_assert(sizeof(NvmControllerLimits) == nvme::spec::kIdentifyBytes);

}  // namespace

Admin::Admin(reactor::Reactor& reactor, Owner& owner, QueuePairOptions options, Nanos timeout)
    : reactor_(reactor),
      owner_(owner),
      timeout_(timeout),
      queue_(reactor, *this, options),
      subnqn_(options.subnqn) {}

void Admin::on_completions(std::span<const Completion> /*completions*/) {
    CHECK(false);  // every admin command is awaited
}

void Admin::on_down(const core::Error& reason) {
    owner_.on_admin_down(reason);
}

Task<Result<void>> Admin::start() {
    auto opened = co_await queue_.open();
    if (!opened) {
        co_return opened;
    }
    auto enabled = co_await enable();
    co_return enabled;
}

Task<Result<CommandResult>> Admin::run(nvme::spec::Command entry,
                                       std::span<std::byte> into,
                                       Nanos deadline) {
    const core::Segment segment{into.data(), into.size()};
    Command command;
    command.entry = entry;
    if (!into.empty()) {
        command.transfer = Transfer::FromController;
        command.segments = std::span(&segment, 1);
        command.length = static_cast<std::uint32_t>(into.size());
        command.exact = false;  // what is not sent stays zero
        std::ranges::fill(into, std::byte{0});
    }
    const Nanos limit = std::min(reactor_.now() + timeout_, deadline);
    auto result = co_await queue_.execute(command, limit);
    co_return result;
}

Task<Result<CommandResult>> Admin::must(nvme::spec::Command entry,
                                        std::span<std::byte> into,
                                        const char* what,
                                        Nanos deadline) {
    auto result = co_await run(entry, into, deadline);
    if (result && result->status != 0) {
        co_return core::fail(ErrorKind::Unavailable, queue_.name() + ": " + what + " failed with " +
                                                         status_text(result->status));
    }
    co_return result;
}

Task<Result<std::uint64_t>> Admin::get_property(std::uint32_t offset, bool wide) {
    const auto entry = property(nvme::spec::FabricsType::PropertyGet, offset, wide);
    const auto result = co_await must(entry, {}, "Property Get");
    if (!result) {
        co_return std::unexpected(result.error());
    }
    const std::uint64_t high = wide ? result->dw1 : 0;
    co_return result->dw0 | (high << 32U);
}

Task<Result<void>> Admin::set_property(std::uint32_t offset, std::uint32_t value) {
    auto command = std::bit_cast<PropertyCommand>(
        property(nvme::spec::FabricsType::PropertySet, offset, false));
    command.value = value;
    const auto entry = std::bit_cast<nvme::spec::Command>(command);
    const auto result = co_await must(entry, {}, "Property Set");
    if (!result) {
        co_return std::unexpected(result.error());
    }
    co_return Result<void>{};
}

// NVMe Base 2.0, Controller Initialization (Message-based Transport).
Task<Result<void>> Admin::enable() {
    namespace cap = nvme::spec::cap;
    const auto capabilities = co_await get_property(nvme::spec::kPropertyCap, true);
    if (!capabilities) {
        co_return std::unexpected(capabilities.error());
    }
    cap_ = *capabilities;
    const auto page = static_cast<std::uint32_t>((cap_ >> cap::kMpsMinShift) & 0xfU);
    configuration_ = nvme::spec::cc::kNvmEntrySizes | (page << nvme::spec::cc::kMpsShift);
    auto set =
        co_await set_property(nvme::spec::kPropertyCc, configuration_ | nvme::spec::cc::kEnable);
    if (!set) {
        co_return set;
    }
    const auto half_seconds = static_cast<std::int64_t>((cap_ >> cap::kTimeoutShift) & 0xffU);
    const Nanos limit = std::max<Nanos>(std::chrono::milliseconds(500) * half_seconds,
                                        std::chrono::milliseconds(500));
    auto ready = co_await await_ready(true, reactor_.now() + limit);
    co_return ready;
}

Task<Result<void>> Admin::await_ready(bool ready, Nanos deadline) {
    Nanos pause = kReadyPollMin;
    while (true) {
        const auto status = co_await get_property(nvme::spec::kPropertyCsts, false);
        if (!status) {
            co_return std::unexpected(status.error());
        }
        if ((*status & nvme::spec::csts::kFatal) != 0) {
            co_return core::fail(ErrorKind::Unavailable,
                                 queue_.name() + ": the controller reports a fatal status");
        }
        if (((*status & nvme::spec::csts::kReady) != 0) == ready) {
            co_return Result<void>{};
        }
        if (reactor_.now() >= deadline) {
            co_return core::fail(ErrorKind::DeadlineExceeded,
                                 queue_.name() + ": the controller is not ready in its own time");
        }
        co_await reactor::sleep_for(pause);
        pause = std::min(pause * 2, kReadyPollMax);
    }
}

Task<Result<CommandResult>> Admin::identify(Cns cns,
                                            std::uint32_t nsid,
                                            std::span<std::byte> into,
                                            Nanos deadline) {
    nvme::spec::Command entry = entry_of(AdminOpcode::Identify);
    entry.nsid = nsid;
    entry.cdw10 = static_cast<std::uint32_t>(cns);
    auto result = co_await run(entry, into, deadline);
    co_return result;
}

Task<Result<ControllerFacts>> Admin::identify_controller() {
    nvme::spec::IdentifyController data;
    const auto bytes = core::as_writable_bytes_of(data);
    const auto entry = [] {
        nvme::spec::Command command = entry_of(AdminOpcode::Identify);
        command.cdw10 = static_cast<std::uint32_t>(Cns::Controller);
        return command;
    }();
    const auto result = co_await must(entry, bytes, "Identify Controller");
    if (!result) {
        co_return std::unexpected(result.error());
    }
    const std::string shown(nvme::spec::field_text(data.subnqn));
    if (data.cntrltype > nvme::spec::kControllerTypeIo) {
        co_return core::fail(ErrorKind::InvalidArgument,
                             subnqn_ + " is no subsystem with volumes: name an I/O subsystem");
    }
    if (!shown.empty() && shown != subnqn_) {
        co_return core::fail(ErrorKind::FailedPrecondition,
                             queue_.name() + " says it is " + shown + ", not " + subnqn_);
    }
    const std::uint64_t page = std::uint64_t{4096}
                               << ((cap_ >> nvme::spec::cap::kMpsMinShift) & 15U);
    ControllerFacts facts;
    // A greater power than 20 is no limit to the parts made here.
    facts.max_transfer_bytes = data.mdts == 0 || data.mdts > 20 ? 0 : page << data.mdts;
    const std::uint64_t capsule = std::uint64_t{data.ioccsz} * 16;
    const std::uint64_t fixed = sizeof(nvme::spec::Command) + std::uint64_t{data.icdoff} * 16;
    // An offset of in-capsule data is not for TCP (NVMe/TCP Transport 1.0: ICDOFF is 0).
    facts.in_capsule_bytes = data.icdoff != 0 || capsule <= fixed
                                 ? 0
                                 : static_cast<std::uint32_t>(std::min<std::uint64_t>(
                                       capsule - fixed, std::uint64_t{16} * 1024));
    facts.max_queue_entries = static_cast<std::uint32_t>(cap_ & nvme::spec::cap::kMqesMask) + 1;
    facts.namespace_limit = data.nn;
    facts.can_discard = (data.oncs & nvme::spec::kOncsDatasetManagement) != 0;
    facts.can_write_zeroes = (data.oncs & nvme::spec::kOncsWriteZeroes) != 0;
    facts.volatile_cache = (data.vwc & nvme::spec::kVwcPresent) != 0;
    facts.tells_namespace_changes = (data.oaes & nvme::spec::kEventNamespaceAttribute) != 0;
    facts.tells_ana_changes = (data.oaes & nvme::spec::kEventAnaChange) != 0;
    facts.keeps_alive = data.kas != 0;
    facts.ana.reported = (data.cmic & nvme::spec::kCmicAna) != 0;
    facts.ana.transition = std::chrono::seconds(std::max<std::uint8_t>(data.anatt, 1));
    facts.ana.group_max = data.anagrpmax;
    facts.ana.groups = data.nanagrpid;
    co_await ask_command_set_limits(facts, page);
    co_return facts;
}

/// A 2.0 controller has separate limits for Write Zeroes and Dataset Management; before, Write
/// Zeroes keeps to the transfer limit, to be on the safe side.
Task<> Admin::ask_command_set_limits(ControllerFacts& facts, std::uint64_t page_bytes) {
    facts.max_zeroes_bytes = facts.max_transfer_bytes;
    const auto version = co_await get_property(nvme::spec::kPropertyVs, false);
    if (!version || *version < kVersion20) {
        co_return;
    }
    NvmControllerLimits limits;
    const auto bytes = core::as_writable_bytes_of(limits);
    const auto result = co_await identify(Cns::CommandSetController, 0, bytes);
    if (!result || result->status != 0) {
        co_return;
    }
    // A greater power than 20 is no limit to the most blocks of one command.
    facts.max_zeroes_bytes =
        limits.zeroes_size == 0 || limits.zeroes_size > 20 ? 0 : page_bytes << limits.zeroes_size;
    if (limits.range_blocks != 0) {
        facts.max_discard_blocks = limits.range_blocks;
    }
    if (limits.total_blocks != 0) {
        facts.max_discard_blocks = static_cast<std::uint32_t>(
            std::min<std::uint64_t>(facts.max_discard_blocks, limits.total_blocks));
    }
}

Task<Result<std::uint32_t>> Admin::set_queue_count(std::uint32_t wanted) {
    nvme::spec::Command entry = entry_of(AdminOpcode::SetFeatures);
    entry.cdw10 = static_cast<std::uint32_t>(nvme::spec::Feature::NumberOfQueues);
    const auto count = static_cast<std::uint16_t>(wanted);
    entry.cdw11 = nvme::spec::number_of_queues(count, count);
    const auto result = co_await must(entry, {}, "setting the number of queues");
    if (!result) {
        co_return std::unexpected(result.error());
    }
    const std::uint32_t submission = (result->dw0 & 0xffffU) + 1;
    const std::uint32_t completion = (result->dw0 >> 16U) + 1;
    co_return std::min({wanted, submission, completion});
}

Task<Result<void>> Admin::set_event_mask(std::uint32_t events) {
    nvme::spec::Command entry = entry_of(AdminOpcode::SetFeatures);
    entry.cdw10 = static_cast<std::uint32_t>(nvme::spec::Feature::AsyncEventConfiguration);
    entry.cdw11 = events;
    const auto result = co_await must(entry, {}, "asking for events");
    if (!result) {
        co_return std::unexpected(result.error());
    }
    co_return Result<void>{};
}

Task<Result<void>> Admin::keep_alive(Nanos limit) {
    Command command;
    command.entry = entry_of(AdminOpcode::KeepAlive);
    const auto result = co_await queue_.execute(command, reactor_.now() + limit);
    if (!result) {
        co_return std::unexpected(result.error());
    }
    if (result->status != 0) {
        co_return core::fail(ErrorKind::Unavailable, queue_.name() + ": keep alive failed with " +
                                                         status_text(result->status));
    }
    co_return Result<void>{};
}

// NVMe Base 2.0, Abort: CDW10 has the queue and the command. DW0 of the answer only says whether it
// was aborted, which its own answer shows.
Task<Result<void>> Admin::abort(std::uint16_t queue_id, std::uint16_t cid) {
    nvme::spec::Command entry = entry_of(AdminOpcode::Abort);
    entry.cdw10 = queue_id | (std::uint32_t{cid} << 16U);
    const auto result = co_await run(entry, {});
    if (!result) {
        co_return std::unexpected(result.error());
    }
    co_return Result<void>{};
}

Task<Result<std::uint32_t>> Admin::await_event() {
    Command command;
    command.entry = entry_of(AdminOpcode::AsyncEventRequest);
    const auto result = co_await queue_.execute(command, core::kNever);
    if (!result) {
        co_return std::unexpected(result.error());
    }
    if (result->status != 0) {
        co_return core::fail(ErrorKind::Unimplemented,
                             queue_.name() + ": no events, " + status_text(result->status));
    }
    co_return result->dw0;
}

Task<Result<void>> Admin::get_log(nvme::spec::LogPage page,
                                  std::uint64_t offset,
                                  std::span<std::byte> into,
                                  std::uint32_t specific,
                                  Nanos deadline) {
    nvme::spec::Command entry = entry_of(AdminOpcode::GetLogPage);
    nvme::spec::set_log_page_range(entry, page, offset, static_cast<std::uint32_t>(into.size()));
    entry.cdw10 = entry.cdw10 | specific;
    const auto result = co_await must(entry, into, "Get Log Page", deadline);
    if (!result) {
        co_return std::unexpected(result.error());
    }
    co_return Result<void>{};
}

Task<bool> Admin::disable(bool shutdown, Nanos limit) {
    if (!queue_.is_open()) {
        co_return false;
    }
    // The limit is the command's: a controller that does not answer loses its connection.
    timeout_ = limit;
    const std::uint32_t value =
        configuration_ |
        (shutdown ? nvme::spec::cc::kEnable | nvme::spec::cc::kShutdownNormal : 0U);
    const Nanos deadline = reactor_.now() + limit;
    const auto set = co_await set_property(nvme::spec::kPropertyCc, value);
    if (set && !shutdown) {
        // RDY 0 says that nothing of the old association is being executed any more.
        const auto ended = co_await await_ready(false, deadline);
        if (!ended) {
            log::debug("controller does not confirm its reset", log::kv("queue", queue_.name()),
                       log::kv("reason", ended.error().message));
        }
        co_return ended.has_value();
    }
    co_return false;
}

}  // namespace remora::backends::nvme_tcp

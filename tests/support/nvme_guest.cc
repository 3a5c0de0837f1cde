// SPDX-License-Identifier: Apache-2.0
#include "tests/support/nvme_guest.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "nvme/spec/fabrics.h"
#include "nvme/spec/pcie.h"
#include "vfio_user/region.h"

namespace remora::test {

namespace vu = vfio_user;
namespace spec = nvme::spec;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kMsixControl = 0x52;
constexpr std::uint16_t kMsixEnable = 0x8000;
constexpr std::uint16_t kMsiEnable = 1;
constexpr std::uint64_t kCommand = 0x04;
constexpr std::uint16_t kMemoryAndMaster = 0x0006;

}  // namespace

NvmeGuest::NvmeGuest(NvmeGuestOptions options)
    : options_(std::move(options)),
      ram_(std::make_unique<SharedRam>(options_.memory_bytes)),
      queues_(65) {}

bool NvmeGuest::fail(const std::string& what) {
    error_ = what;
    return false;
}

std::uint64_t NvmeGuest::allocate(std::size_t bytes) {
    const std::uint64_t at = next_page_;
    next_page_ += (bytes + spec::kPageBytes - 1) / spec::kPageBytes * spec::kPageBytes;
    CHECK(next_page_ <= options_.memory_bytes);
    std::memset(ram_->at(at), 0, next_page_ - at);
    return at;
}

bool NvmeGuest::connect() {
    client_ = VfioClient::connect(options_.path);
    if (!client_) {
        return fail("nobody listens at " + options_.path);
    }
    if (!client_->negotiate()) {
        return fail("no version agreed on");
    }
    if (client_->map(kBase, options_.memory_bytes, ram_->fd()) != 0) {
        return fail("memory refused");
    }
    if (!map_bar() || !write_config16(kCommand, kMemoryAndMaster) || !set_up_interrupts()) {
        return error_.empty() ? fail("the function refuses to be set up") : false;
    }
    return true;
}

bool NvmeGuest::move_to(const std::string& path) {
    options_.path = path;
    return connect();
}

bool NvmeGuest::map_bar() {
    auto reply = client_->region_info(vu::kRegionBar0, vu::kMaxRegionInfoBytes);
    if (!reply || reply->failed()) {
        return fail("no BAR 0");
    }
    if (!options_.map_doorbells || reply->fds.empty()) {
        return true;
    }
    vu::SparseArea area;
    std::memcpy(&area, reply->payload.data() + sizeof(vu::RegionInfo) + sizeof(vu::SparseMmap),
                sizeof(area));
    doorbells_ = std::make_unique<SharedRam>(std::move(reply->fds[0]), area.offset, area.size);
    return !doorbells_->bytes().empty();
}

bool NvmeGuest::set_up_interrupts() {
    const std::uint32_t index = options_.msix  ? vu::kIrqMsix
                                : options_.msi ? vu::kIrqMsi
                                               : vu::kIrqIntx;
    const auto info = client_->irq_info(index);
    if (!info) {
        return fail("no interrupts");
    }
    interrupts_.clear();
    for (std::uint32_t i = 0; i < info->count; ++i) {
        interrupts_.push_back(make_eventfd());
        const std::array<int, 1> fds{interrupts_.back().get()};
        if (client_->set_irqs(index, vu::kIrqDataEventfd | vu::kIrqActionTrigger, i, 1, fds) != 0) {
            return fail("interrupt refused");
        }
    }
    if (options_.msi) {
        return write_config16(kMsixControl, kMsiEnable);  // it lies at the same place
    }
    return !options_.msix || write_config16(kMsixControl, kMsixEnable);
}

std::uint32_t NvmeGuest::read32(std::uint64_t offset) {
    return client_->read_as<std::uint32_t>(vu::kRegionBar0, offset).value_or(0xffff'ffff);
}
bool NvmeGuest::write32(std::uint64_t offset, std::uint32_t value) {
    return client_->write_as(vu::kRegionBar0, offset, value) == 0;
}
bool NvmeGuest::write_config16(std::uint64_t offset, std::uint16_t value) {
    return client_->write_as(vu::kRegionConfig, offset, value) == 0;
}

bool NvmeGuest::wait_status(std::uint32_t mask, std::uint32_t value) {
    const auto deadline = Clock::now() + std::chrono::seconds(10);
    while ((read32(spec::kPropertyCsts) & mask) != value) {
        if (Clock::now() > deadline) {
            return fail("CSTS does not become " + std::to_string(value));
        }
        std::this_thread::yield();
    }
    return true;
}

bool NvmeGuest::enable() {
    const std::uint32_t entries = options_.admin_entries;
    HostQueue& admin = queues_[0];
    admin = {.entries = entries,
             .submissions = allocate(entries * sizeof(spec::Command)),
             .completions = allocate(entries * sizeof(spec::Completion))};
    shadow_ = events_ = 0;
    const auto asq = guest(admin.submissions);
    const auto acq = guest(admin.completions);
    const bool written =
        write32(spec::kRegisterAqa, (entries - 1) | ((entries - 1) << 16U)) &&
        client_->write_as<std::uint64_t>(vu::kRegionBar0, spec::kRegisterAsq, asq) == 0 &&
        write32(spec::kRegisterAcq, static_cast<std::uint32_t>(acq & 0xffff'ffffU)) &&
        write32(spec::kRegisterAcq + 4, static_cast<std::uint32_t>(acq >> 32U)) &&
        write32(spec::kPropertyCc, spec::cc::kNvmEntrySizes | spec::cc::kEnable);
    return written ? wait_status(spec::csts::kReady | spec::csts::kFatal, spec::csts::kReady)
                   : fail("a register refused a write");
}

bool NvmeGuest::create_queue(std::uint16_t qid, std::uint32_t entries, std::uint16_t cqid) {
    HostQueue& queue = queues_[qid];
    queue = {.qid = qid, .cqid = cqid == 0 ? qid : cqid, .entries = entries};
    spec::Command command{};
    spec::PrpPair prps;
    command.cdw10 = qid | ((entries - 1) << 16U);
    if (cqid == 0) {
        queue.completions = allocate(entries * sizeof(spec::Completion));
        prps.first = guest(queue.completions);
        std::memcpy(&command.sgl, &prps, sizeof(prps));
        command.opcode = static_cast<std::uint8_t>(spec::PcieAdminOpcode::CreateIoCq);
        const std::uint32_t vector = options_.msix ? qid : 0U;
        const std::uint32_t interrupts = options_.polls ? 0U : spec::kQueueInterrupts;
        command.cdw11 = spec::kQueueContiguous | interrupts | (vector << 16U);
        if (status_of(queues_[0], command) != 0) {
            return fail("completion queue refused");
        }
    }
    queue.submissions = allocate(entries * sizeof(spec::Command));
    prps.first = guest(queue.submissions);
    std::memcpy(&command.sgl, &prps, sizeof(prps));
    command.opcode = static_cast<std::uint8_t>(spec::PcieAdminOpcode::CreateIoSq);
    command.cdw11 = spec::kQueueContiguous | (std::uint32_t{queue.cqid} << 16U);
    return status_of(queues_[0], command) == 0 || fail("submission queue refused");
}

bool NvmeGuest::delete_queue(std::uint16_t qid) {
    spec::Command command{};
    command.cdw10 = std::uint32_t{qid};
    command.opcode = static_cast<std::uint8_t>(spec::PcieAdminOpcode::DeleteIoSq);
    if (status_of(queues_[0], command) != 0) {
        return fail("submission queue not deleted");
    }
    command.opcode = static_cast<std::uint8_t>(spec::PcieAdminOpcode::DeleteIoCq);
    return queues_[qid].cqid != qid || status_of(queues_[0], command) == 0 ||
           fail("completion queue not deleted");
}

bool NvmeGuest::start(std::uint16_t queues, std::uint32_t entries) {
    if (!connect() || !enable()) {
        return false;
    }
    for (std::uint16_t qid = 1; qid <= queues; ++qid) {
        if (!create_queue(qid, entries)) {
            return false;
        }
    }
    return true;
}

void NvmeGuest::write_doorbell(std::uint32_t index, std::uint32_t value) {
    if (shadow_ != 0 && index >= 2) {
        auto* shadow = reinterpret_cast<std::uint32_t*>(ram_->at(shadow_) + std::size_t{4} * index);
        auto* event = reinterpret_cast<std::uint32_t*>(ram_->at(events_) + std::size_t{4} * index);
        const std::uint32_t old = *shadow;
        __atomic_store_n(shadow, value, __ATOMIC_RELEASE);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        const auto asked = static_cast<std::uint16_t>(__atomic_load_n(event, __ATOMIC_RELAXED));
        const auto now = static_cast<std::uint16_t>(value);
        if (static_cast<std::uint16_t>(now - asked - 1) >=
            static_cast<std::uint16_t>(now - static_cast<std::uint16_t>(old))) {
            return;  // the controller has not asked to be told
        }
    }
    if (doorbells_ != nullptr) {
        __atomic_store_n(reinterpret_cast<std::uint32_t*>(doorbells_->at(std::size_t{4} * index)),
                         value, __ATOMIC_RELEASE);
    } else {
        write32(spec::kDoorbells + 4U * index, value);
    }
}

std::uint16_t NvmeGuest::push(HostQueue& queue, spec::Command command) {
    const std::uint16_t cid = queue.next_cid++;
    command.cid = cid;
    std::memcpy(ram_->at(queue.submissions + queue.tail * sizeof(command)), &command,
                sizeof(command));
    queue.tail = (queue.tail + 1) % queue.entries;
    return cid;
}

void NvmeGuest::ring(HostQueue& queue) {
    write_doorbell(spec::sq_doorbell(queue.qid), queue.tail);
}

std::optional<spec::Completion> NvmeGuest::pop(HostQueue& queue) {
    const std::byte* at = ram_->at(queue.completions + queue.head * sizeof(spec::Completion));
    const std::uint32_t last = __atomic_load_n(
        reinterpret_cast<const std::uint32_t*>(at + offsetof(spec::Completion, cid)),
        __ATOMIC_ACQUIRE);
    if (((last >> 16U) & 1U) != (queue.phase ? 1U : 0U)) {
        return std::nullopt;
    }
    spec::Completion entry;
    std::memcpy(&entry, at, sizeof(entry));
    queue.head = (queue.head + 1) % queue.entries;
    queue.phase = queue.head == 0 ? !queue.phase : queue.phase;
    return entry;
}

void NvmeGuest::ring_taken(HostQueue& queue) {
    write_doorbell(spec::cq_doorbell(queue.cqid), queue.head);
}

std::optional<spec::Completion> NvmeGuest::pop_within(HostQueue& queue, int timeout_ms) {
    const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
    while (true) {
        if (auto entry = pop(queue)) {
            return entry;
        }
        if (Clock::now() > deadline) {
            return std::nullopt;
        }
        std::this_thread::yield();
    }
}

std::optional<spec::Completion> NvmeGuest::wait(HostQueue& queue, int timeout_ms) {
    auto entry = pop_within(queue, timeout_ms);
    if (entry) {
        ring_taken(queue);
    }
    return entry;
}

std::optional<spec::Completion> NvmeGuest::run(HostQueue& queue, const spec::Command& command) {
    const std::uint16_t cid = push(queue, command);
    ring(queue);
    auto entry = wait(queue);
    return entry && entry->cid == cid ? entry : std::nullopt;
}

std::uint16_t NvmeGuest::status_of(HostQueue& queue, const spec::Command& command) {
    const auto entry = run(queue, command);
    return entry ? entry->status() : std::uint16_t{0xffff};
}

spec::Command NvmeGuest::io(spec::IoOpcode opcode,
                            std::uint64_t lba,
                            std::uint32_t blocks,
                            std::uint32_t nsid) {
    spec::Command command{};
    command.opcode = static_cast<std::uint8_t>(opcode);
    command.nsid = nsid;
    command.cdw10 = static_cast<std::uint32_t>(lba & 0xffff'ffffU);
    command.cdw11 = static_cast<std::uint32_t>(lba >> 32U);
    command.cdw12 = blocks - 1;
    return command;
}

void NvmeGuest::point(spec::Command& command,
                      std::uint64_t offset,
                      std::uint32_t bytes,
                      std::uint64_t list) {
    spec::PrpPair prps;
    prps.first = guest(offset);
    const std::uint64_t first =
        std::min<std::uint64_t>(bytes, spec::kPageBytes - offset % spec::kPageBytes);
    std::uint64_t next = offset + first;
    const std::uint64_t left = bytes - first;
    if (left > spec::kPageBytes) {
        prps.second = guest(list);
        for (std::uint64_t at = 0; at * spec::kPageBytes < left; ++at) {
            const core::le64 entry(guest(next + at * spec::kPageBytes));
            std::memcpy(ram_->at(list + at * sizeof(entry)), &entry, sizeof(entry));
        }
    } else if (left > 0) {
        prps.second = guest(next);
    }
    std::memcpy(&command.sgl, &prps, sizeof(prps));
}

std::optional<std::vector<std::byte>> NvmeGuest::identify(std::uint8_t cns, std::uint32_t nsid) {
    const std::uint64_t at = allocate(spec::kPageBytes);
    spec::Command command{};
    command.opcode = static_cast<std::uint8_t>(spec::AdminOpcode::Identify);
    command.nsid = nsid;
    command.cdw10 = std::uint32_t{cns};
    point(command, at, spec::kPageBytes);
    if (status_of(queues_[0], command) != 0) {
        return std::nullopt;
    }
    return std::vector<std::byte>(ram_->at(at), ram_->at(at) + spec::kPageBytes);
}

bool NvmeGuest::use_shadow_doorbells() {
    const std::uint64_t values = allocate(spec::kPageBytes);
    const std::uint64_t events = allocate(spec::kPageBytes);
    spec::Command command{};
    command.opcode = static_cast<std::uint8_t>(spec::PcieAdminOpcode::DoorbellBufferConfig);
    spec::PrpPair prps;
    prps.first = guest(values);
    prps.second = guest(events);
    std::memcpy(&command.sgl, &prps, sizeof(prps));
    if (status_of(queues_[0], command) != 0) {
        return fail("doorbell buffers refused");
    }
    shadow_ = values;
    events_ = events;
    return true;
}

}  // namespace remora::test

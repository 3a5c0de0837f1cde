// SPDX-License-Identifier: Apache-2.0
// Function: the configuration space and BAR 0.
#include <algorithm>
#include <cstring>

#include "core/byte_reader.h"
#include "core/log.h"
#include "core/probe.h"
#include "frontends/vfio_user_nvme/function.h"
#include "nvme/spec/fabrics.h"
#include "nvme/spec/log_page.h"
#include "nvme/spec/pcie.h"

namespace remora::frontends::vfio_user_nvme {

namespace spec = nvme::spec;

namespace {

constexpr std::uint64_t kMsixTable = 0x2000;
constexpr std::uint64_t kMsixPending = 0x3000;

/// The part of an access [offset, offset + size) that lies in [begin, end).
struct Overlap {
    std::uint64_t at = 0;  ///< From `begin`.
    std::size_t skip = 0;  ///< Bytes of the access before it.
    std::size_t size = 0;
};
Overlap overlap(std::uint64_t offset, std::size_t size, std::uint64_t begin, std::uint64_t end) {
    const std::uint64_t from = std::max(offset, begin);
    const std::uint64_t to = std::min(offset + size, end);
    if (from >= to) {
        return {};
    }
    return {from - begin, static_cast<std::size_t>(from - offset),
            static_cast<std::size_t>(to - from)};
}

// NVM Express Base Specification 2.0, Controller Properties: the first of them, as they lie.
struct Registers {
    core::le64 cap;
    core::le32 vs;
    core::le32 intms;
    core::le32 intmc;
    core::le32 cc;
    core::le32 reserved18;
    core::le32 csts;
    core::le32 nssr;
    core::le32 aqa;
    core::le64 asq;
    core::le64 acq;
};
static_assert(sizeof(Registers) == spec::kRegistersEnd);
static_assert(offsetof(Registers, cc) == spec::kPropertyCc);
static_assert(offsetof(Registers, csts) == spec::kPropertyCsts);
static_assert(offsetof(Registers, aqa) == spec::kRegisterAqa);
static_assert(offsetof(Registers, acq) == spec::kRegisterAcq);

constexpr std::uint64_t with_low(std::uint64_t whole, std::uint32_t low) {
    return (whole & ~std::uint64_t{0xffff'ffff}) | low;
}
constexpr std::uint64_t with_high(std::uint64_t whole, std::uint32_t high) {
    return (whole & 0xffff'ffffU) | (std::uint64_t{high} << 32U);
}

}  // namespace

bool Function::read_region(std::uint32_t index, std::uint64_t offset, std::span<std::byte> to) {
    if (index == vfio_user::kRegionConfig) {
        refresh_interrupts();  // the status register shows INTx
        config_.read(static_cast<std::size_t>(offset), to);
        return true;
    }
    if (index != vfio_user::kRegionBar0) {
        return false;
    }
    read_registers(offset, to);
    return true;
}

void Function::read_registers(std::uint64_t offset, std::span<std::byte> to) const {
    std::ranges::fill(to, std::byte{0});
    if (const Overlap part = overlap(offset, to.size(), 0, sizeof(Registers)); part.size > 0) {
        Registers now;
        now.cap = controller_->capabilities();
        now.vs = spec::kVersion14;
        now.intms = interrupt_mask_;
        now.intmc = interrupt_mask_;
        now.cc = controller_->configuration();
        now.csts = controller_->status();
        now.aqa = aqa_;
        now.asq = asq_;
        now.acq = acq_;
        std::memcpy(to.data() + part.skip, core::as_bytes_of(now).data() + part.at, part.size);
    }
    // Doorbells are for writing; what a read gives is not defined, and no host reads them.
    if (const Overlap part =
            overlap(offset, to.size(), kMsixTable, kMsixTable + msix_table_.size());
        part.size > 0) {
        std::memcpy(to.data() + part.skip, msix_table_.data() + part.at, part.size);
    }
    if (const Overlap part = overlap(offset, to.size(), kMsixPending, kMsixPending + 16);
        part.size > 0) {
        read_pending(part.at, to.subspan(part.skip, part.size));
    }
}

void Function::read_pending(std::uint64_t offset, std::span<std::byte> to) const {
    std::array<core::le64, 2> bits;
    bits[0] = session_->irqs().pending(0);
    bits[1] = session_->irqs().pending(64);
    std::memcpy(to.data(), std::as_bytes(std::span(bits)).data() + offset, to.size());
}

bool Function::write_region(std::uint32_t index,
                            std::uint64_t offset,
                            std::span<const std::byte> from) {
    if (index == vfio_user::kRegionConfig) {
        config_.write(static_cast<std::size_t>(offset), from);
        if (config_.take_reset_request()) {
            REMORA_COVER("vfio-user: a function-level reset");
            begin_reset();
            run_later();
        }
        update_running();
        refresh_interrupts();
        return true;
    }
    if (index != vfio_user::kRegionBar0) {
        return false;
    }
    write_bar(offset, from);
    return true;
}

/// Registers are written as whole dwords; hosts write a 64-bit one in one access or in two. What is
/// neither has no effect (NVM Express Base 2.0, Controller Properties: accesses of other sizes).
void Function::write_bar(std::uint64_t offset, std::span<const std::byte> from) {
    const Overlap table = overlap(offset, from.size(), kMsixTable, kMsixTable + msix_table_.size());
    if (table.size > 0) {
        std::memcpy(msix_table_.data() + table.at, from.data() + table.skip, table.size);
        return;
    }
    constexpr std::size_t kDword = 4;
    if (offset % kDword != 0 || (from.size() != kDword && from.size() != 2 * kDword)) {
        return;
    }
    core::ByteReader reader(from);
    core::le32 value;
    while (reader.read(value)) {
        if (offset >= spec::kDoorbells) {
            write_doorbell(offset, value);
        } else {
            write_register(offset, value);
        }
        offset += kDword;
    }
}

void Function::write_doorbell(std::uint64_t offset, std::uint32_t value) {
    const std::uint64_t index = (offset - spec::kDoorbells) / 4;
    if (index < 2 * kQueues) {
        doorbells_->write(static_cast<std::uint32_t>(index), value);
        ++shared_.counters.doorbells;
        refresh_interrupts();
        const std::uint64_t qid = index / 2;
        const bool is_queue = qid == 0 || (index % 2 == 0 ? submissions_[qid] != nullptr
                                                          : completions_[qid] != nullptr);
        if (!is_queue) {
            controller_->doorbell_error(spec::kErrorDoorbellRegister);
        }
    }
}

void Function::write_register(std::uint64_t offset, std::uint32_t value) {
    const bool enabled = (controller_->configuration() & spec::cc::kEnable) != 0;
    switch (offset) {
        case spec::kRegisterIntms:
            interrupt_mask_ |= value;
            refresh_interrupts();
            break;
        case spec::kRegisterIntmc:
            interrupt_mask_ &= ~value;
            refresh_interrupts();
            break;
        case spec::kPropertyCc:
            write_cc(value);
            break;
        // The admin queue's place may not change while it is in use.
        case spec::kRegisterAqa:
            aqa_ = enabled ? aqa_ : value & spec::kAqaMask;
            break;
        case spec::kRegisterAsq:
            asq_ = enabled ? asq_ : with_low(asq_, value) & spec::kQueueBaseMask;
            break;
        case spec::kRegisterAsq + 4:
            asq_ = enabled ? asq_ : with_high(asq_, value);
            break;
        case spec::kRegisterAcq:
            acq_ = enabled ? acq_ : with_low(acq_, value) & spec::kQueueBaseMask;
            break;
        case spec::kRegisterAcq + 4:
            acq_ = enabled ? acq_ : with_high(acq_, value);
            break;
        default:
            break;  // read only, or reserved
    }
}

/// NVM Express Base 2.0, Offset 14h: CC. A change that comes while the one before waits for
/// requests to end is made after it.
void Function::write_cc(std::uint32_t value) {
    if (closing_queues_ || resetting_) {
        next_cc_ = value;
        return;
    }
    const bool was_enabled = (controller_->configuration() & spec::cc::kEnable) != 0;
    const bool enabled = (value & spec::cc::kEnable) != 0;
    const bool made = was_enabled || !enabled || make_admin_queue();
    if (was_enabled && !enabled && admin_ != nullptr) {
        admin_->discard();  // the host has no admin queue any more
    }
    CHECK(controller_->configure(value));
    if (!made) {
        log::warn("controller not enabled", log::kv("device", spec_.name),
                  log::kv("reason", "the admin queue is not in the guest's memory"));
        controller_->fail();
    }
    if (was_enabled && !enabled && !closing_queues_) {
        // There was no I/O queue to wait for.
        destroy_io_queues();
        destroy_admin_queue();
        doorbells_->reset_all();
    }
    update_running();
}

bool Function::make_admin_queue() {
    const memory::GuestMemory& guest = session_->memory().guest();
    QueueMemory submission{.address = asq_,
                           .entries = spec::admin_sq_entries(aqa_),
                           .entry_bytes = sizeof(spec::Command),
                           .bytes = {}};
    QueueMemory completion{.address = acq_,
                           .entries = spec::admin_cq_entries(aqa_),
                           .entry_bytes = sizeof(spec::Completion),
                           .bytes = {}};
    submission.locate(guest);
    completion.locate(guest);
    // A queue of one entry could never have one.
    if (!submission.reachable() || !completion.reachable() || submission.entries < 2 ||
        completion.entries < 2) {
        return false;
    }
    destroy_admin_queue();
    doorbells_->reset(spec::sq_doorbell(0));
    doorbells_->reset(spec::cq_doorbell(0));
    make_admin_queue(submission, completion);
    return true;
}

void Function::make_admin_queue(const QueueMemory& submission, const QueueMemory& completion) {
    InterruptSink& sink = *this;
    QueueOwner& owner = *this;
    QueueCommands& commands = *this;
    admin_completions_ = std::make_unique<CompletionQueue>(
        reactor_, *doorbells_, sink,
        CompletionQueueSpec{.qid = 0, .memory = completion, .interrupts = true, .vector = 0});
    admin_ = std::make_unique<AdminQueue>(shared_, owner, commands, *controller_,
                                          *admin_completions_, submission);
    if (spec_.map_doorbells) {  // else a doorbell comes as a message, which ends a sleep
        reactor_.watch(*doorbells_);
    }
}

}  // namespace remora::frontends::vfio_user_nvme

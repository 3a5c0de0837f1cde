// SPDX-License-Identifier: Apache-2.0
// Function: I/O queues made, deleted and drained.
#include <algorithm>
#include <cstring>

#include "core/probe.h"
#include "frontends/vfio_user_nvme/function.h"
#include "nvme/spec/fabrics.h"
#include "nvme/spec/pcie.h"

namespace remora::frontends::vfio_user_nvme {

namespace spec = nvme::spec;
using nvme::AdminResult;
using spec::PcieAdminOpcode;
using spec::PcieStatus;
using spec::StatusCode;

namespace {

template <typename T>
std::uint16_t refused(T code) {
    return spec::status_field(code, true);
}

template <typename T>
AdminResult failed(T code) {
    return {.status = refused(code)};
}

spec::PrpPair prps_of(const spec::Command& command) {
    spec::PrpPair prps;
    std::memcpy(&prps, &command.sgl, sizeof(prps));
    return prps;
}

}  // namespace

std::optional<AdminResult> Function::run_queue_command(const spec::Command& command,
                                                       nvme::CommandToken token) {
    switch (static_cast<PcieAdminOpcode>(command.opcode)) {
        case PcieAdminOpcode::DeleteIoSq:
            return delete_sq(command, token);
        case PcieAdminOpcode::CreateIoSq:
            return create_sq(command);
        case PcieAdminOpcode::DeleteIoCq:
            return delete_cq(command);
        case PcieAdminOpcode::CreateIoCq:
            return create_cq(command);
        case PcieAdminOpcode::DoorbellBufferConfig:
            return set_doorbell_buffers(command);
    }
    return std::nullopt;
}

std::expected<QueueMemory, std::uint16_t> Function::queue_memory(const spec::Command& command,
                                                                 std::uint32_t entry_bytes) const {
    constexpr std::uint32_t kSizes =
        (0xfU << spec::cc::kIoSqesShift) | (0xfU << spec::cc::kIoCqesShift);
    const std::uint32_t entries = spec::queue_entries(command);
    if (entries < 2 || entries > kMaxQueueEntries ||
        (controller_->configuration() & kSizes) != spec::cc::kNvmEntrySizes) {
        return std::unexpected(refused(PcieStatus::InvalidQueueSize));
    }
    // CAP.CQR is 1.
    if ((command.cdw11 & spec::kQueueContiguous) == 0) {
        return std::unexpected(refused(StatusCode::InvalidField));
    }
    QueueMemory memory{.address = prps_of(command).first,
                       .entries = entries,
                       .entry_bytes = entry_bytes,
                       .bytes = {}};
    if (memory.address % spec::kPageBytes != 0) {
        return std::unexpected(refused(PcieStatus::PrpOffsetInvalid));
    }
    memory.locate(shared_.guest());
    if (!memory.reachable()) {
        return std::unexpected(refused(StatusCode::DataTransferError));
    }
    return memory;
}

AdminResult Function::create_cq(const spec::Command& command) {
    const std::uint16_t qid = spec::queue_id(command);
    if (qid == 0 || qid > spec_.io_queues || completions_[qid] != nullptr) {
        return failed(PcieStatus::InvalidQueueIdentifier);
    }
    const auto memory = queue_memory(command, sizeof(spec::Completion));
    if (!memory) {
        return {.status = memory.error()};
    }
    const bool interrupts = (command.cdw11 & spec::kQueueInterrupts) != 0;
    const auto vector = static_cast<std::uint16_t>(command.cdw11 >> 16U);
    // INTx is one interrupt for all.
    const std::uint32_t vectors = msix_mode() ? irq_counts().msix : 1;
    if (interrupts && vector >= vectors) {
        return failed(PcieStatus::InvalidInterruptVector);
    }
    InterruptSink& sink = *this;
    doorbells_->reset(spec::cq_doorbell(qid));
    completions_[qid] = std::make_unique<CompletionQueue>(
        reactor_, *doorbells_, sink,
        CompletionQueueSpec{
            .qid = qid, .memory = *memory, .interrupts = interrupts, .vector = vector});
    controller_->io_queue_added();
    return {};
}

AdminResult Function::create_sq(const spec::Command& command) {
    const std::uint16_t qid = spec::queue_id(command);
    if (qid == 0 || qid > spec_.io_queues || submissions_[qid] != nullptr) {
        return failed(PcieStatus::InvalidQueueIdentifier);
    }
    const std::uint32_t cqid = command.cdw11 >> 16U;
    if (cqid == 0 || cqid > spec_.io_queues || completions_[cqid] == nullptr) {
        return failed(PcieStatus::CompletionQueueInvalid);
    }
    const auto memory = queue_memory(command, sizeof(spec::Command));
    if (!memory) {
        return {.status = memory.error()};
    }
    QueueOwner& owner = *this;
    doorbells_->reset(spec::sq_doorbell(qid));
    submissions_[qid] = std::make_unique<SubmissionQueue>(
        shared_, owner, *completions_[cqid], SubmissionQueueSpec{.qid = qid, .memory = *memory});
    controller_->io_queue_added();
    return {};
}

AdminResult Function::delete_cq(const spec::Command& command) {
    const std::uint16_t qid = spec::queue_id(command);
    if (qid == 0 || qid > spec_.io_queues || completions_[qid] == nullptr) {
        return failed(PcieStatus::InvalidQueueIdentifier);
    }
    if (completions_[qid]->users > 0) {
        return failed(PcieStatus::InvalidQueueDeletion);
    }
    completions_[qid].reset();
    controller_->io_queue_removed();
    return {};
}

/// Its commands under way end and are answered first (NVM Express Base 2.0, Delete I/O Submission
/// Queue, lets them).
AdminResult Function::delete_sq(const spec::Command& command, nvme::CommandToken token) {
    const std::uint16_t qid = spec::queue_id(command);
    if (qid == 0 || qid > spec_.io_queues || submissions_[qid] == nullptr ||
        deletions_[qid].has_value()) {
        return failed(PcieStatus::InvalidQueueIdentifier);
    }
    submissions_[qid]->stop(true);
    if (!submissions_[qid]->idle()) {
        REMORA_COVER("vfio-user: a queue is deleted with requests under way");
        deletions_[qid] = token;
        return {.pending = true};
    }
    submissions_[qid].reset();
    controller_->io_queue_removed();
    return {};
}

void Function::finish_deletions() {
    for (std::size_t qid = 1; qid < kQueues; ++qid) {
        if (!deletions_[qid] || !submissions_[qid]->idle()) {
            continue;
        }
        const nvme::CommandToken token = *std::exchange(deletions_[qid], std::nullopt);
        submissions_[qid].reset();
        controller_->io_queue_removed();
        admin_->complete_held(token, 0, 0);
    }
}

AdminResult Function::set_doorbell_buffers(const spec::Command& command) {
    const spec::PrpPair prps = prps_of(command);
    if (!controller_->options().doorbell_buffers) {
        return failed(StatusCode::InvalidOpcode);
    }
    // NVM Express Base 2.0, Doorbell Buffer Config: either is one page.
    if (prps.first % spec::kPageBytes != 0 || prps.second % spec::kPageBytes != 0 ||
        !doorbells_->set_shadow(shared_.guest(), prps.first, prps.second)) {
        return failed(StatusCode::InvalidField);
    }
    return {};
}

void Function::stop_queues(bool publish) {
    for (const auto& queue : submissions_) {
        if (queue != nullptr) {
            queue->stop(publish);
        }
    }
}

bool Function::queues_idle() const {
    return std::ranges::all_of(submissions_,
                               [](const auto& queue) { return queue == nullptr || queue->idle(); });
}

void Function::destroy_io_queues() {
    for (std::size_t qid = 1; qid < kQueues; ++qid) {
        deletions_[qid].reset();
        if (submissions_[qid] != nullptr) {
            submissions_[qid].reset();
            controller_->io_queue_removed();
        }
    }
    for (std::unique_ptr<CompletionQueue>& queue : completions_) {
        if (queue != nullptr) {
            queue->settle();
            queue.reset();
            controller_->io_queue_removed();
        }
    }
}

void Function::destroy_admin_queue() {
    if (admin_ != nullptr) {
        admin_completions_->settle();
        reactor_.unwatch(*doorbells_);
    }
    admin_.reset();
    admin_completions_.reset();
}

}  // namespace remora::frontends::vfio_user_nvme

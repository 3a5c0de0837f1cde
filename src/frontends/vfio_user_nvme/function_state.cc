// SPDX-License-Identifier: Apache-2.0
// Function: how it is handed to another process, and how that one goes on.
#include "frontends/vfio_user_nvme/function_state.h"

#include <algorithm>

#include "frontends/vfio_user_nvme/function.h"
#include "nvme/spec/fabrics.h"
#include "nvme/spec/pcie.h"

namespace remora::frontends::vfio_user_nvme {

namespace spec = nvme::spec;

namespace {

QueueMemory memory_of(std::uint64_t address, std::uint32_t entries, std::uint32_t entry_bytes) {
    return {.address = address, .entries = entries, .entry_bytes = entry_bytes, .bytes = {}};
}

core::Result<void> impossible(const std::string& what) {
    return core::fail(core::ErrorKind::DataLoss, "a function came with " + what);
}

}  // namespace

void Function::begin_freeze() {
    freezing_ = true;
    update_running();
    stop_queues(true);
}

bool Function::quiet() const {
    const auto all_answered = [](const auto& queue) {
        return queue == nullptr || queue->can_freeze();
    };
    return !changing() && !next_cc_ && leaving_memory_.empty() &&
           std::ranges::none_of(deletions_, [](const auto& token) { return token.has_value(); }) &&
           std::ranges::all_of(submissions_, all_answered) && all_answered(admin_);
}

FunctionState Function::freeze() {
    CHECK(can_freeze());
    return collect();
}

FunctionState Function::collect() {
    FunctionState state;
    state.config.resize(vfio_user::PciConfig::kBytes);
    config_.read(0, state.config);
    state.msix_table = msix_table_;
    state.interrupt_mask = interrupt_mask_;
    state.aqa = aqa_;
    state.asq = asq_;
    state.acq = acq_;
    state.doorbells = doorbells_->handle();
    state.shadow_values = doorbells_->shadow_values();
    state.shadow_events = doorbells_->shadow_events();
    state.controller = controller_->save();
    if (admin_ != nullptr) {
        admin_completions_->settle();
        state.completions.push_back(admin_completions_->save());
        state.submissions.push_back(admin_->save());
    }
    for (std::size_t qid = 1; qid < kQueues; ++qid) {
        if (completions_[qid] != nullptr) {
            completions_[qid]->settle();
            state.completions.push_back(completions_[qid]->save());
        }
        if (submissions_[qid] != nullptr) {
            state.submissions.push_back(submissions_[qid]->save());
        }
    }
    for (const auto& there : namespaces_) {
        if (shared_.find(there->nsid) == there.get()) {
            state.namespaces.push_back(there->nsid);
        }
    }
    return state;
}

bool Function::restore_completions(const CompletionQueueState& from) {
    if (from.qid == 0 || from.qid > spec_.io_queues || completions_[from.qid] != nullptr ||
        from.entries < 2 || from.entries > kMaxQueueEntries ||
        from.vector >= std::max(irq_counts().msix, 1U)) {
        return false;
    }
    QueueMemory memory = memory_of(from.address, from.entries, sizeof(spec::Completion));
    memory.locate(shared_.guest());
    InterruptSink& sink = *this;
    completions_[from.qid] =
        std::make_unique<CompletionQueue>(reactor_, *doorbells_, sink,
                                          CompletionQueueSpec{.qid = from.qid,
                                                              .memory = memory,
                                                              .interrupts = from.interrupts,
                                                              .vector = from.vector});
    controller_->io_queue_added();
    return completions_[from.qid]->restore(from);
}

bool Function::restore_submissions(const SubmissionQueueState& from) {
    if (from.qid == 0 || from.qid > spec_.io_queues || submissions_[from.qid] != nullptr ||
        from.cqid == 0 || from.cqid > spec_.io_queues || completions_[from.cqid] == nullptr ||
        from.entries < 2 || from.entries > kMaxQueueEntries) {
        return false;
    }
    QueueMemory memory = memory_of(from.address, from.entries, sizeof(spec::Command));
    memory.locate(shared_.guest());
    QueueOwner& owner = *this;
    submissions_[from.qid] =
        std::make_unique<SubmissionQueue>(shared_, owner, *completions_[from.cqid],
                                          SubmissionQueueSpec{.qid = from.qid, .memory = memory});
    controller_->io_queue_added();
    return submissions_[from.qid]->restore(from);
}

/// The admin queue, the events that wait in it, and the controller that has them.
bool Function::restore_admin_queue(const FunctionState& from) {
    std::vector<nvme::CommandToken> requests;
    const bool has_queue = !from.completions.empty() && from.completions.front().qid == 0;
    if (has_queue != (!from.submissions.empty() && from.submissions.front().qid == 0)) {
        return false;
    }
    if (has_queue) {
        const CompletionQueueState& completions = from.completions.front();
        const SubmissionQueueState& submissions = from.submissions.front();
        QueueMemory submission =
            memory_of(submissions.address, submissions.entries, sizeof(spec::Command));
        QueueMemory completion =
            memory_of(completions.address, completions.entries, sizeof(spec::Completion));
        submission.locate(shared_.guest());
        completion.locate(shared_.guest());
        if (submission.entries < 2 || completion.entries < 2) {
            return false;
        }
        make_admin_queue(submission, completion);
        // The controller answers event requests at once: into queues that are right.
        if (!admin_->restore(submissions) || !admin_completions_->restore(completions)) {
            return false;
        }
        for (const std::uint16_t cid : from.controller.event_requests) {
            if (const auto token = admin_->hold_event_request(cid)) {
                requests.push_back(*token);
            }
        }
    }
    controller_->restore(from.controller, requests);
    return true;
}

core::Result<void> Function::restore(const FunctionState& from) {
    CHECK(session_ != nullptr && admin_ == nullptr && controller_->configuration() == 0);
    if (auto adopted = doorbells_->adopt(from.doorbells); !adopted) {
        return adopted;
    }
    if (spec_.map_doorbells) {
        regions_[vfio_user::kRegionBar0].handle = doorbells_->handle();
    }
    if (auto applied = apply(from); !applied) {
        return applied;
    }
    update_running();
    refresh_interrupts();
    return {};
}

core::Result<void> Function::apply(const FunctionState& from) {
    config_.restore(from.config);
    std::ranges::copy_n(
        from.msix_table.begin(),
        static_cast<std::ptrdiff_t>(std::min(from.msix_table.size(), msix_table_.size())),
        msix_table_.begin());
    interrupt_mask_ = from.interrupt_mask;
    aqa_ = from.aqa;
    asq_ = from.asq;
    acq_ = from.acq;
    if (from.shadow_values != 0 &&
        !doorbells_->set_shadow(shared_.guest(), from.shadow_values, from.shadow_events)) {
        return impossible("shadow doorbells outside its memory");
    }
    if (!restore_admin_queue(from)) {
        return impossible("an admin queue that cannot be");
    }
    for (const CompletionQueueState& queue : from.completions) {
        if (queue.qid != 0 && !restore_completions(queue)) {
            return impossible("completion queue " + std::to_string(queue.qid));
        }
    }
    for (const SubmissionQueueState& queue : from.submissions) {
        if (queue.qid != 0 && !restore_submissions(queue)) {
            return impossible("submission queue " + std::to_string(queue.qid));
        }
    }
    return {};
}

// --- Moved to another server by its client ---

bool Function::halt() {
    halted_ = true;
    update_running();
    halting_ = !queues_idle() || changing();
    return !halting_;
}

void Function::go_on() {
    halted_ = halting_ = false;
    update_running();
    // The host may not have heard of what was there when it was moved. An interrupt too many does
    // no harm.
    const auto tell = [this](const std::unique_ptr<CompletionQueue>& queue) {
        if (queue != nullptr && queue->interrupts() && queue->has_untaken()) {
            interrupt(queue->vector());
        }
    };
    tell(admin_completions_);
    std::ranges::for_each(completions_, tell);
    refresh_interrupts();
}

core::Result<std::vector<std::byte>> Function::save() {
    if (!quiet()) {
        return core::fail(core::ErrorKind::Unavailable,
                          "completions wait for the host to take others from their queue");
    }
    MovedState moved{.function = collect(), .doorbells = doorbells_->save(), .namespaces = {}};
    for (const std::uint32_t nsid : moved.function.namespaces) {
        const OpenNamespace& there = *shared_.find(nsid);
        moved.namespaces.push_back({.nsid = nsid,
                                    .uuid = there.uuid,
                                    .block_size = there.geometry.block_size,
                                    .block_count = there.geometry.block_count});
    }
    return encode_moved(moved);
}

core::Result<void> Function::load(std::span<const std::byte> state) {
    CHECK(halted_ && queues_idle());
    forget_all();
    const auto moved = decode_moved(state);
    if (!moved) {
        return std::unexpected(moved.error());
    }
    if (auto same = check_namespaces(moved->namespaces); !same) {
        return same;
    }
    const std::vector<CompletionQueueState>& queues = moved->function.completions;
    const bool has_admin_queue = !queues.empty() && queues.front().qid == 0;
    const nvme::ControllerState& controller = moved->function.controller;
    const bool ready = (controller.csts & spec::csts::kReady) != 0;
    if (ready && !has_admin_queue) {
        return impossible("a controller that is ready without an admin queue");
    }
    // Enabling begins with no queue and no event request.
    if ((controller.cc & spec::cc::kEnable) == 0 && (ready || has_admin_queue)) {
        return impossible("a controller that is disabled and has queues");
    }
    if (!ready && !controller.event_requests.empty()) {
        return impossible("event requests of a controller that is not ready");
    }
    doorbells_->restore(moved->doorbells);
    auto applied = apply(moved->function);
    if (!applied) {
        forget_all();
    }
    update_running();
    return applied;
}

core::Result<void> Function::check_namespaces(std::span<const MovedNamespace> from) const {
    for (const MovedNamespace& moved : from) {
        const OpenNamespace* there = shared_.find(moved.nsid);
        if (there == nullptr || there->uuid != moved.uuid ||
            there->geometry.block_size != moved.block_size ||
            there->geometry.block_count != moved.block_count) {
            return core::fail(core::ErrorKind::FailedPrecondition,
                              "namespace " + std::to_string(moved.nsid) +
                                  " is not here, or is another volume, or of another size");
        }
    }
    return {};
}

}  // namespace remora::frontends::vfio_user_nvme

// SPDX-License-Identifier: Apache-2.0
#include "vfio_user/irq.h"

#include <bit>
#include <cerrno>
#include <utility>

#include "core/check.h"
#include "reactor/reactor.h"

namespace remora::vfio_user {

IrqTable::IrqTable(reactor::Io& io, const IrqCounts& counts, LevelSource& level)
    : io_(io), level_(level) {
    lines_[kIrqIntx].resize(counts.intx);
    lines_[kIrqMsi].resize(counts.msi);
    lines_[kIrqMsix].resize(counts.msix);
    lines_[kIrqError].resize(1);
    lines_[kIrqRequest].resize(1);
}

std::uint32_t IrqTable::count(std::uint32_t index) const {
    return index < kIrqCount ? static_cast<std::uint32_t>(lines_[index].size()) : 0;
}

IrqTable::Line& IrqTable::at(std::uint32_t index, std::uint32_t number) {
    CHECK(number < count(index));
    return lines_[index][number];
}

bool IrqTable::describe(std::uint32_t index, IrqInfo& to) const {
    if (index >= kIrqCount) {
        return false;
    }
    to.index = index;
    to.count = count(index);
    to.flags = index == kIrqIntx ? kIrqEventfd | kIrqMaskable | kIrqAutomasked : kIrqEventfd;
    return true;
}

void IrqTable::raise(Line& line) {
    if (line.event == nullptr || line.masked) {
        line.pending = true;
        return;
    }
    line.pending = false;
    line.event->signal();
    ++signals_;
}

void IrqTable::set_intx_level(bool high) {
    if (count(kIrqIntx) == 0) {
        return;
    }
    intx_high_ = high;
    Line& line = at(kIrqIntx, 0);
    if (!high || line.event == nullptr || line.masked) {
        return;
    }
    reactor::Reactor& reactor = reactor::Reactor::current();
    if (reactor.now() < intx_from_) {
        reactor.arm(pause_, intx_from_);
        return;
    }
    raise(line);
    mask(line);
}

/// The pause is over.
void IrqTable::on_timer(reactor::Timer& /*timer*/) {
    level_.refresh_level();
    set_intx_level(intx_high_);
}

void IrqTable::unmask(Line& line) {
    line.masked = false;
    if (count(kIrqIntx) > 0 && &line == &at(kIrqIntx, 0)) {
        intx_from_ = reactor::Reactor::current().now() + kIntxPause;
        set_intx_level(intx_high_);
    } else if (line.pending) {
        raise(line);
    }
}

std::uint64_t IrqTable::pending(std::uint32_t first) const {
    std::uint64_t bits = 0;
    for (std::uint32_t i = 0; i < 64 && std::uint64_t{first} + i < count(kIrqMsix); ++i) {
        bits |= lines_[kIrqMsix][first + i].pending ? std::uint64_t{1} << i : 0U;
    }
    return bits;
}

void IrqTable::reset() {
    intx_high_ = false;
    for (std::vector<Line>& lines : lines_) {
        for (Line& line : lines) {
            line.pending = false;
        }
    }
}

bool IrqTable::listen(std::uint32_t index, Line& line, reactor::Handle handle) {
    std::unique_ptr<reactor::Event> event;
    if (handle != reactor::kNoHandle) {
        // The handle is the event's from here on, whether it becomes one or not.
        auto made = io_.adopt_event(handle);
        if (!made) {
            return false;
        }
        event = std::move(*made);
    }
    if (index == kIrqMsix || index == kIrqMsi) {
        std::uint32_t& listened = index == kIrqMsix ? listened_msix_ : listened_msi_;
        listened -= line.event != nullptr ? 1U : 0U;
        listened += event != nullptr ? 1U : 0U;
    }
    line.event = std::move(event);
    line.handle = handle;
    return true;
}

/// Somebody listens: what has happened so far is told.
void IrqTable::told(std::uint32_t index, Line& line) {
    if (index == kIrqIntx) {
        set_intx_level(intx_high_);
    } else if (line.pending) {
        raise(line);
    }
}

void IrqTable::disable(std::uint32_t index) {
    for (Line& line : lines_[index]) {
        listen(index, line, reactor::kNoHandle);
        line.masked = false;
        line.pending = false;
    }
    if (index == kIrqIntx) {
        take_unmask_event(reactor::kNoHandle);
    }
}

/// As many handles as interrupts, or none at all, which takes away what was there.
std::expected<void, int> IrqTable::set_events(const IrqSet& request, reactor::HandleBox& handles) {
    if (handles.count != 0 && handles.count != request.count) {
        return std::unexpected(EINVAL);
    }
    for (std::uint32_t i = 0; i < request.count; ++i) {
        Line& line = at(request.index, request.start + i);
        const reactor::Handle handle = handles.count == 0
                                           ? reactor::kNoHandle
                                           : std::exchange(handles.handles[i], reactor::kNoHandle);
        if (!listen(request.index, line, handle)) {
            return std::unexpected(EINVAL);
        }
        if (line.event != nullptr) {
            line.masked = line.masked && request.index != kIrqIntx;
            told(request.index, line);
        }
    }
    return {};
}

bool IrqTable::take_unmask_event(reactor::Handle handle) {
    unmask_event_.reset();
    unmask_handle_ = reactor::kNoHandle;
    if (handle == reactor::kNoHandle) {
        return true;
    }
    auto made = io_.adopt_event(handle);
    if (!made) {
        return false;
    }
    unmask_event_ = std::move(*made);
    unmask_event_->set_handler(this);
    unmask_handle_ = handle;
    return true;
}

/// A counter that the client signals to unmask INTx (KVM's resampling does).
std::expected<void, int> IrqTable::set_unmask_event(const IrqSet& request,
                                                    reactor::HandleBox& handles) {
    if (request.index != kIrqIntx || request.count != 1 || handles.count > 1) {
        return std::unexpected(EINVAL);
    }
    const reactor::Handle handle = handles.count == 0
                                       ? reactor::kNoHandle
                                       : std::exchange(handles.handles[0], reactor::kNoHandle);
    return take_unmask_event(handle) ? std::expected<void, int>() : std::unexpected(EINVAL);
}

IrqState IrqTable::freeze() {
    pause_.cancel();
    IrqState state{.lines = {}, .unmask_event = unmask_handle_, .intx_high = intx_high_};
    for (std::uint32_t index = 0; index < kIrqCount; ++index) {
        for (std::uint32_t number = 0; number < count(index); ++number) {
            const Line& line = lines_[index][number];
            if (line.event != nullptr || line.masked || line.pending) {
                state.lines.push_back({index, number, line.handle, line.masked, line.pending});
            }
        }
    }
    return state;
}

void IrqTable::restore(const IrqState& from) {
    for (const IrqLineState& saved : from.lines) {
        if (saved.number >= count(saved.index)) {
            if (saved.event != reactor::kNoHandle) {
                io_.close(saved.event);
            }
            continue;
        }
        Line& line = at(saved.index, saved.number);
        (void)listen(saved.index, line, saved.event);
        line.masked = saved.masked;
        line.pending = saved.pending;
        if (saved.index != kIrqIntx && line.event != nullptr && line.pending) {
            raise(line);
        }
    }
    intx_high_ = from.intx_high;
    (void)take_unmask_event(from.unmask_event);
}

void IrqTable::act(std::uint32_t action, Line& line) {
    if (action == kIrqActionMask) {
        mask(line);
    } else if (action == kIrqActionUnmask) {
        unmask(line);
    } else {
        raise(line);
    }
}

std::expected<void, int> IrqTable::set(const IrqSet& request,
                                       std::span<const std::byte> data,
                                       reactor::HandleBox& handles) {
    const std::uint32_t kind = request.flags & kIrqDataBits;
    const std::uint32_t action = request.flags & kIrqActionBits;
    const std::uint32_t lines = count(request.index);
    if (!std::has_single_bit(kind) || !std::has_single_bit(action) ||
        (request.flags & ~(kIrqDataBits | kIrqActionBits)) != 0 || request.index >= kIrqCount ||
        request.start > lines || request.count > lines - request.start) {
        return std::unexpected(EINVAL);
    }
    if ((kind != kIrqDataEventfd && handles.count != 0) ||
        data.size() != (kind == kIrqDataBool ? request.count.get() : 0U)) {
        return std::unexpected(EINVAL);
    }
    if (kind == kIrqDataEventfd) {
        if (action == kIrqActionTrigger) {
            return set_events(request, handles);
        }
        return action == kIrqActionUnmask ? set_unmask_event(request, handles)
                                          : std::unexpected(EINVAL);
    }
    if (request.count == 0) {
        if (kind != kIrqDataNone || action != kIrqActionTrigger || request.start != 0) {
            return std::unexpected(EINVAL);
        }
        disable(request.index);
        return {};
    }
    for (std::uint32_t i = 0; i < request.count; ++i) {
        if (kind == kIrqDataNone || data[i] != std::byte{0}) {
            act(action, at(request.index, request.start + i));
        }
    }
    return {};
}

}  // namespace remora::vfio_user

// SPDX-License-Identifier: Apache-2.0
#include "control/layer_builder.h"

#include <algorithm>
#include <utility>

#include "core/log.h"

namespace remora::control {

using core::ErrorKind;
using core::Result;
using reactor::Task;

namespace {

bool is_there(const Context& context, const std::string& volume) {
    return context.node.find_volume(volume).has_value();
}

bool all_there(const Context& context, const Layer& layer) {
    return std::ranges::all_of(layer.lowers, [&context](const Layer::Lower& lower) {
        return is_there(context, lower.volume);
    });
}

/// An encrypted volume is built without a look at what is below: its I/O waits for that.
bool looks_below(const Layer& layer) {
    using Traits = KindTraits<opi::EncryptedVolume>;
    return !layer.volume.starts_with(std::string(Traits::kCollection.alias) + "/");
}

/// Whether there is anything to ask of what the layer stands on. A volume of a remote controller
/// is there at once, but without a path it answers nothing until its time limit is over.
bool may_answer(const Context& context, const Layer& layer) {
    return !looks_below(layer) ||
           std::ranges::any_of(layer.lowers, [&context](const Layer::Lower& lower) {
               const auto parts = split_remote_volume(lower.volume);
               if (!parts || lower.volume.find('/') != std::string::npos) {
                   return true;
               }
               const auto remote = context.node.remote_status(parts->first);
               return !remote || remote->state == node::PathState::Live;
           });
}

bool is_stored(const LayerKind& kind, const std::string& volume) {
    return std::ranges::any_of(kind.stored(),
                               [&volume](const Layer& layer) { return layer.volume == volume; });
}

}  // namespace

void LayerBuilder::start() {
    (void)gate_.spawn(&LayerBuilder::run, this);
}

Task<> LayerBuilder::run(LayerBuilder* self) {
    core::Nanos pause = kShortestPause;
    while (!self->gate_.closed()) {
        self->has_built_ = false;
        const Left left = co_await self->build_all(self->unbuilt());
        if (left != Left::Soon && !self->is_first_done_) {
            self->is_first_done_ = true;
            self->first_done_.notify();
        }
        pause = self->has_built_ || left == Left::Nothing ? kShortestPause
                                                          : std::min(2 * pause, kLongestPause);
        // Whatever is not built by itself later (a call makes another one) is looked for, too.
        const core::Nanos next = left == Left::Nothing ? kLongestPause : pause;
        co_await self->stop_signal_.wait_until(reactor::Reactor::current().now() + next);
    }
}

std::vector<LayerBuilder::Waiting> LayerBuilder::unbuilt() const {
    std::vector<Waiting> out;
    for (LayerKind* kind : kinds_) {
        for (Layer& layer : kind->stored()) {
            // One whose lock is taken is just being made, or deleted.
            if (!is_there(context_, layer.volume) && context_.locks.is_free(layer.lock)) {
                out.push_back({kind, std::move(layer)});
            }
        }
    }
    return out;
}

/// Each once.
Task<LayerBuilder::Left> LayerBuilder::build_all(std::vector<Waiting> waiting) {
    Left left = Left::Nothing;
    while (!waiting.empty() && !gate_.closed()) {
        // Best one that has all it stands on, else one that waits for no other: an array may do
        // with fewer members, and any other says what it lacks. A circle cannot be made.
        auto next = std::ranges::find_if(
            waiting, [this](const Waiting& one) { return all_there(context_, one.layer); });
        if (next == waiting.end()) {
            next = std::ranges::find_if(waiting, [&waiting](const Waiting& one) {
                return std::ranges::none_of(one.layer.lowers, [&](const Layer::Lower& lower) {
                    return std::ranges::any_of(waiting, [&lower](const Waiting& other) {
                        return other.layer.volume == lower.volume;
                    });
                });
            });
        }
        next = next == waiting.end() ? waiting.begin() : next;
        Waiting one = std::move(*next);
        waiting.erase(next);
        const Left of_one = co_await build_one(std::move(one));
        left = std::max(left, of_one);
    }
    co_return left;
}

Task<LayerBuilder::Left> LayerBuilder::build_one(Waiting one) {
    std::vector<std::string> keys = locks_below(one.layer);
    keys.push_back(one.layer.lock);
    const auto held = co_await context_.lock(std::move(keys));
    if (!held) {
        co_return Left::Soon;
    }
    const std::string& volume = one.layer.volume;
    if (!is_stored(*one.kind, volume) || is_there(context_, volume)) {
        said_.erase(volume);
        co_return Left::Nothing;
    }
    if (!may_answer(context_, one.layer)) {
        const core::Error error{ErrorKind::Unavailable,
                                "there is no path to what it stands on; it is built when there is"};
        context_.unbuilt[volume] = {"NoPathLive", error.message};
        co_return note_failure(one.layer, error);
    }
    const Result<void> built = co_await one.kind->build_stored(volume);
    if (!built) {
        co_return note_failure(one.layer, built.error());
    }
    has_built_ = true;
    if (said_.erase(volume) > 0) {
        log::info("volume built at last", log::kv("name", volume));
    }
    co_return Left::Nothing;
}

LayerBuilder::Left LayerBuilder::note_failure(const Layer& layer, const core::Error& error) {
    const bool soon = error.kind == ErrorKind::Unavailable;
    const std::string& reason = context_.unbuilt[layer.volume].message;
    if (std::exchange(said_[layer.volume], reason) != reason) {
        log::write(soon ? log::Level::Warn : log::Level::Error,
                   "volume not built, and is tried again",
                   {log::kv("name", layer.volume), log::kv("reason", reason)});
    }
    return soon ? Left::Soon : Left::Later;
}

Task<> LayerBuilder::wait_first(core::Nanos limit) {
    const core::Nanos deadline = reactor::Reactor::current().now() + limit;
    while (!is_first_done_ && reactor::Reactor::current().now() < deadline) {
        co_await first_done_.wait_until(deadline);
    }
}

Task<bool> LayerBuilder::stop(core::Nanos deadline) {
    stop_signal_.notify();
    co_return co_await gate_.close_by(deadline);
}

}  // namespace remora::control

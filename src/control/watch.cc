// SPDX-License-Identifier: Apache-2.0
#include "control/watch.h"

#include <utility>

#include "google/api/resource.pb.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using google::protobuf::Message;

namespace {

api::ResourceEvent event_of(api::ResourceEvent::Type type, const Message& resource) {
    api::ResourceEvent event;
    event.set_type(type);
    event.set_kind(resource.GetDescriptor()->full_name());
    const auto* field = resource.GetDescriptor()->FindFieldByName("name");
    event.set_name(resource.GetReflection()->GetString(resource, field));
    if (type != api::ResourceEvent::TYPE_DELETED) {
        event.mutable_resource()->PackFrom(resource);
    }
    return event;
}

}  // namespace

Watcher::Watcher(const api::WatchResourcesRequest& request)
    : kinds_(request.kinds().begin(), request.kinds().end()),
      changes_only_(request.changes_only()) {}

void Watcher::begin(std::deque<SharedEvent> existing) {
    const std::scoped_lock lock(mutex_);
    allowance_ = kMostWaiting + existing.size();
    events_ = std::move(existing);
    some_.notify_one();
}

bool Watcher::push(const SharedEvent& event) {
    const std::scoped_lock lock(mutex_);
    if (state_ == State::Going && events_.size() >= allowance_) {
        state_ = State::FallenBehind;
        some_.notify_one();
    }
    if (state_ != State::Going) {
        return false;
    }
    events_.push_back(event);
    some_.notify_one();
    return true;
}

void Watcher::close() {
    const std::scoped_lock lock(mutex_);
    state_ = State::Closed;
    some_.notify_one();
}

Watcher::Taken Watcher::take(core::Nanos limit) {
    std::unique_lock lock(mutex_);
    some_.wait_for(lock, limit, [this] { return !events_.empty() || state_ != State::Going; });
    Taken taken{{events_.begin(), events_.end()}, state_};
    events_.clear();
    allowance_ = kMostWaiting;
    return taken;
}

WatchHub::~WatchHub() {
    model_.set_observer(nullptr);
    for (const auto& watcher : watchers_) {
        watcher->close();
    }
}

Result<void> WatchHub::add(std::shared_ptr<Watcher> watcher,
                           const api::WatchResourcesRequest& request) {
    for (const std::string& kind : request.kinds()) {
        const auto* type =
            google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(kind);
        if (type == nullptr || !type->options().HasExtension(google::api::resource)) {
            return fail(ErrorKind::InvalidArgument,
                        "kinds: \"" + kind +
                            "\" is no kind of resource; they are called as "
                            "opi_api.storage.v1.VirtioBlk is");
        }
    }
    forget_closed();
    if (watchers_.size() >= kMostWatchers) {
        return fail(ErrorKind::ResourceExhausted,
                    std::to_string(kMostWatchers) + " clients watch already, the limit");
    }
    std::deque<SharedEvent> existing;
    if (!watcher->changes_only()) {
        model_.for_each([&](const auto& object) {
            if (watcher->wants(object.resource.GetDescriptor()->full_name())) {
                auto event = event_of(api::ResourceEvent::TYPE_EXISTING, object.resource);
                event.set_revision(revision_);
                existing.push_back(std::make_shared<const api::ResourceEvent>(std::move(event)));
            }
        });
    }
    api::ResourceEvent synced;
    synced.set_type(api::ResourceEvent::TYPE_SYNCED);
    synced.set_revision(revision_);
    existing.push_back(std::make_shared<const api::ResourceEvent>(std::move(synced)));
    watcher->begin(std::move(existing));
    watchers_.push_back(std::move(watcher));
    return {};
}

void WatchHub::on_put(Kind /*kind*/, const Message& resource, bool is_new) {
    ++revision_;
    if (!watchers_.empty()) {
        publish(event_of(
            is_new ? api::ResourceEvent::TYPE_ADDED : api::ResourceEvent::TYPE_MODIFIED, resource));
    }
}

void WatchHub::on_erased(Kind /*kind*/, const Message& resource) {
    ++revision_;
    if (!watchers_.empty()) {
        publish(event_of(api::ResourceEvent::TYPE_DELETED, resource));
    }
}

void WatchHub::publish_conditions(const std::string& kind, const api::ResourceConditions& changed) {
    ++revision_;
    if (watchers_.empty()) {
        return;
    }
    api::ResourceEvent event;
    event.set_type(api::ResourceEvent::TYPE_CONDITION);
    event.set_kind(kind);
    event.set_name(changed.name());
    *event.mutable_conditions() = changed.conditions();
    publish(std::move(event));
}

void WatchHub::publish(api::ResourceEvent event) {
    event.set_revision(revision_);
    const auto shared = std::make_shared<const api::ResourceEvent>(std::move(event));
    forget_closed();
    std::erase_if(watchers_, [&shared](const std::shared_ptr<Watcher>& watcher) {
        return watcher->wants(shared->kind()) && !watcher->push(shared);
    });
}

/// Those whose client has gone: nobody else holds them.
void WatchHub::forget_closed() {
    std::erase_if(watchers_, [](const auto& watcher) { return watcher.use_count() == 1; });
}

}  // namespace remora::control

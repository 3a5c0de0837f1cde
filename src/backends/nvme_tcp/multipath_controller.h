// SPDX-License-Identifier: Apache-2.0
// MultipathController: one remote subsystem through one or more paths, and its volumes as devices.
//
//   MultipathController ─┬─ path "a": Controller (one association) ─ NamespaceDevices
//                        ├─ path "b": Controller                   ─ NamespaceDevices
//                        └─ volumes: MultipathDevices, each joined to one NamespaceDevice a path
//
// A volume is known by its UUID. A path's namespace of that UUID is joined to it under whatever
// number it is shown, so a volume that comes back under another NSID, or that two paths show under
// different ones, goes on. Its name has the number it was first seen under, or a free one.
//
// Everything here is on the control reactor; the volumes' views are changed by call_on.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/nvme_tcp/controller.h"
#include "backends/nvme_tcp/multipath_device.h"
#include "reactor/gate.h"
#include "reactor/signal.h"

namespace remora::backends::nvme_tcp {

struct MultipathOptions {
    std::string name;  ///< Volumes are named `<name>n<number>`.
    std::string subnqn;
    std::string hostnqn;
    core::Uuid hostid;
    PathPolicy policy = PathPolicy::QueueDepth;
    std::uint32_t io_queues = 0;  ///< As in ControllerOptions, of each path.
    std::uint32_t queue_size = 128;
    bool header_digest = false;
    bool data_digest = false;
    Timing timing;
};

struct PathOptions {
    std::string id;  ///< Unique in the controller.
    Endpoint endpoint;
    std::vector<KnownNamespace> known;
};

struct MultipathStatus {
    struct Path {
        std::string id;
        ControllerStatus controller;
        std::vector<std::uint32_t> numbers;  ///< Of the volumes of controller.namespaces; 0: none.
    };
    struct Volume {
        std::uint32_t number = 0;
        std::string name;
        std::uint32_t nsid = 0;  ///< As the first path that shows it does.
        core::Uuid uuid;
        std::array<unsigned char, 16> nguid{};
        std::uint64_t eui64 = 0;
        block::Geometry geometry;
        bool replaced = false;  ///< No path shows it, and one shows another volume in its place.
    };
    std::vector<Path> paths;
    std::vector<Volume> volumes;
};

/// Told on the control reactor.
class VolumeListener {
  public:
    /// A volume appeared or changed: look at status() again.
    virtual void on_volumes_changed() = 0;

  protected:
    ~VolumeListener() = default;
};

class MultipathController final {
  public:
    /// Paths of one controller.
    static constexpr std::size_t kMaxPaths = MultipathView::kMaxPaths;
    static constexpr std::size_t kMaxVolumes = Controller::kMaxNamespaces;

    MultipathController(MultipathOptions options,
                        std::span<const block::ReactorContext> reactors,
                        reactor::Reactor& control);
    MultipathController(const MultipathController&) = delete;
    MultipathController& operator=(const MultipathController&) = delete;
    /// After stop().
    ~MultipathController();

    /// Null ends the telling.
    void set_listener(VolumeListener* listener) { listener_ = listener; }

    /// Starts the path; it connects in the background, and known volumes are there at once. Errors:
    /// AlreadyExists, ResourceExhausted, InvalidArgument as in RemoteController::create.
    Result<void> add_path(PathOptions options);
    /// Until the path is live and its volumes are. Errors as in RemoteController::wait_ready;
    /// NotFound.
    Task<Result<void>> wait_path(std::string id, Nanos limit);
    /// Until one of the paths is. The error is the last path's.
    Task<Result<void>> wait_any(Nanos limit);
    /// Ends the path. What it was doing goes to the others; without any it waits for one. Errors:
    /// NotFound.
    Task<Result<void>> remove_path(std::string id);
    /// From now on, for every volume. On each reactor when this has returned.
    Task<> set_policy(PathPolicy policy);
    /// For every path, from its next connection on; also for paths that are added later.
    void set_timing(const Timing& timing);
    [[nodiscard]] const Timing& timing() const { return options_.timing; }
    /// Drops the connections of every path and connects anew, one path after the other.
    Task<> reset();

    [[nodiscard]] MultipathStatus status() const;
    [[nodiscard]] block::Device* device(std::uint32_t number) const;
    /// The volumes that only this path shows.
    [[nodiscard]] std::vector<std::string> only_by(const std::string& id) const;
    /// Destroys a volume's device and asks the paths again. Errors: NotFound; FailedPrecondition
    /// while a channel of it is open.
    Task<Result<void>> forget(std::uint32_t number);
    /// Disconnects for good. No channel is open. Call once, before destruction.
    Task<> stop();

  private:
    class Path;
    struct Volume;

    [[nodiscard]] Path* find(const std::string& id) const;
    [[nodiscard]] ControllerOptions controller_options(const PathOptions& options) const;
    Task<Result<void>> wait_one(std::string id, Nanos limit);
    Task<Result<void>> wait_one_of(std::vector<std::string> ids, Nanos deadline);
    Task<> lock();
    void unlock();
    Task<bool> wait_change(Nanos deadline);

    // multipath_volumes.cc
    void on_path_changed(Path& path);
    void take_up(Path& path);
    Volume* add_volume(const NamespaceDevice& space, std::uint32_t number);
    [[nodiscard]] Volume* volume_of(const core::Uuid& uuid) const;
    [[nodiscard]] std::uint32_t free_number(std::uint32_t wanted) const;
    [[nodiscard]] NamespaceDevice* choose_space(const Path& path, const Volume& volume) const;
    [[nodiscard]] std::vector<MultipathDevice::Path> paths_of(const Volume& volume) const;
    [[nodiscard]] block::Geometry geometry_of(const Volume& volume) const;
    [[nodiscard]] Path* path_of(const NamespaceDevice& space) const;
    Task<> align();
    Task<> align_locked();
    Task<> tidy();
    Task<bool> tidy_locked();
    Task<Result<void>> forget_locked(std::uint32_t number);
    static Task<std::uint32_t> inside_of(NamespaceDevice* space);
    void rescan(Path& path);

    MultipathOptions options_;
    std::span<const block::ReactorContext> reactors_;
    reactor::Reactor& reactor_;
    VolumeListener* listener_ = nullptr;
    std::vector<std::unique_ptr<Path>> paths_;  // the preferred ones first
    std::map<std::uint32_t, std::unique_ptr<Volume>> volumes_;
    bool busy_ = false;      // paths of volumes are being changed
    bool aligning_ = false;  // an align() is on its way that has not looked yet
    bool tidying_ = false;
    bool stopping_ = false;
    bool told_full_ = false;
    std::vector<reactor::Signal*> waiters_;
    reactor::Gate gate_;
    reactor::Gate waits_;  // of callers, which end with the paths
};

}  // namespace remora::backends::nvme_tcp

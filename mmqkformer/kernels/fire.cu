// The two kernels of a backend, of integrate-and-fire and of integer dynamics. Tensors are
// [T, count]: a step is one block of memory, steps lie x_step apart.

// Where there is a residual, the spikes are added to it.
KERNEL fire_forward(
    const Storage *x, Index x_step, const Storage *residual, Index residual_step, Storage *spikes,
    Index count, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    FOR_EACH(k, count / TOGETHER) {
        const Index i = k * TOGETHER;
        Pack<Storage> packs[STEPS], added[STEPS];
        FOR_STEPS(t) packs[t] = read(x + t * x_step + i);
        if (residual) FOR_STEPS(t) added[t] = read(residual + t * residual_step + i);
        FOR_LANES(l) {
            Wide current[STEPS], h[STEPS];
            FOR_STEPS(t) current[t] = widen(packs[t].at[l]);
            integrate(neuron, current, h);
            FOR_STEPS(t) {
                Wide spike = fires(neuron, h[t]);
                if (residual) spike += widen(added[t].at[l]);
                store(&packs[t].at[l], spike);
            }
        }
        FOR_STEPS(t) write(spikes + t * count + i, packs[t]);
    }
}

// The charges are computed again. grad_rates holds a sum for each thread, which are added in
// an order that does not depend on which thread ends first.
KERNEL fire_backward(
    const Storage *x, Index x_step, const Storage *grad_spikes, Index grad_step, Storage *grad_x,
    Wide *grad_rates, Index count, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    Wide grad_rate = 0;
    FOR_EACH(k, count / TOGETHER) {
        const Index i = k * TOGETHER;
        Pack<Storage> packs[STEPS], grads[STEPS];
        FOR_STEPS(t) {
            packs[t] = read(x + t * x_step + i);
            grads[t] = read(grad_spikes + t * grad_step + i);
        }
        grad_rate += differentiate(neuron, packs, grads);
        FOR_STEPS(t) write(grad_x + t * count + i, grads[t]);
    }
    if (neuron.leak == LEARNT) grad_rates[first_thread()] = grad_rate;
}

// window, where it is asked for, says where the gradient passes: all that backward needs.
KERNEL integer_forward(
    const Storage *x, Index x_step, Storage *spikes, bool *window, Index count,
    Index levels, double decay, double scale, double divisor, Index half_up
) {
    const Wide highest = (Wide)levels;
    FOR_EACH(k, count / TOGETHER) {
        const Index i = k * TOGETHER;
        Pack<Storage> packs[STEPS];
        Pack<bool> windows[STEPS];
        FOR_STEPS(t) packs[t] = read(x + t * x_step + i);
        FOR_LANES(l) {
            Wide left = 0;
            FOR_STEPS(t) {
                Wide h = (Wide)decay * left + (Wide)scale * widen(packs[t].at[l]);
                Wide clipped = h < 0 ? Wide(0) : h > highest ? highest : h;
                Wide fired = half_up ? floor(clipped + Wide(0.5)) : rint(clipped);
                store(&packs[t].at[l], fired / (Wide)divisor);
                windows[t].at[l] = half_up ? h > 0 && h < highest : h >= 0 && h <= highest;
                left = h - fired;
            }
        }
        FOR_STEPS(t) write(spikes + t * count + i, packs[t]);
        if (window) FOR_STEPS(t) write(window + t * count + i, windows[t]);
    }
}

KERNEL integer_backward(
    const bool *window, const Storage *grad_spikes, Index grad_step, Storage *grad_x, Index count,
    double decay, double scale, double divisor
) {
    FOR_EACH(k, count / TOGETHER) {
        const Index i = k * TOGETHER;
        Pack<bool> windows[STEPS];
        Pack<Storage> grads[STEPS];
        FOR_STEPS(t) {
            windows[t] = read(window + t * count + i);
            grads[t] = read(grad_spikes + t * grad_step + i);
        }
        FOR_LANES(l) {
            Wide grad_left = 0;
            FOR_STEPS_BACKWARD(t) {
                Wide grad = widen(grads[t].at[l]);
                Wide grad_h = grad * Wide(windows[t].at[l]) / (Wide)divisor + grad_left;
                store(&grads[t].at[l], (Wide)scale * grad_h);
                grad_left = (Wide)decay * grad_h;
            }
        }
        FOR_STEPS(t) write(grad_x + t * count + i, grads[t]);
    }
}
